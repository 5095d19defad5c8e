"""Discovery: what is configured, kept in force when the database or a row fails."""
