"""Values and arithmetic that every other room shares: standard library only, no input or output."""
