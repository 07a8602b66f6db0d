"""The stored conversations: one SQLite database, written as the words come."""
