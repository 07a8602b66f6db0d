"""Pure functions on text and figures for drawing; no widgets."""
