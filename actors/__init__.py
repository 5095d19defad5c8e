"""What each actor does: one folder per role, its law pure, its shell thin."""
