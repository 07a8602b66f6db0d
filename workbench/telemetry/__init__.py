"""The meters of the machine."""
