"""What the screens share that measure something."""
