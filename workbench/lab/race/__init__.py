"""The race: several models answer one prompt in fair turns."""
