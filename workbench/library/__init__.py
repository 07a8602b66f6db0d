"""Where model files lie, and what their names mean."""
