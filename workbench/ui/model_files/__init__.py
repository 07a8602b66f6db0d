"""Screens that show the contents of one model file, or of two side by side."""
