"""Who makes tokens."""
