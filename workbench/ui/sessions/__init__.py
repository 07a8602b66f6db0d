"""The dialog of stored sessions."""
