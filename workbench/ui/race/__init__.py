"""The race screen: one prompt answered by several models side by side."""
