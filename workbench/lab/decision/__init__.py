"""Choosing a quantization and its settings from everything that was measured of one base model."""
