"""The screen of a measurement of quality over a text."""
