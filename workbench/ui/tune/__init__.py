"""The screen that finds the fastest settings of a model, and draws speed by context depth."""
