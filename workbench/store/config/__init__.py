"""The configuration file: reading, checking and editing it."""
