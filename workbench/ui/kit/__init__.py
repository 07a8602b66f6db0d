"""Text, figures, gauges and the clipboard: what all features draw and copy with; no widgets."""
