"""Text, figures and gauges: what all features draw with; pure functions, no widgets."""
