"""The machine's meters and findings, as lines and as a dialog."""
