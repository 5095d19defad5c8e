"""The storage actor: takes records from everybody, keeps them on disk and brings them to the database."""
