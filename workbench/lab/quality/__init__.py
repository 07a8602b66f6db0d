"""How much a quantization, a cache type or another setting changes the distributions of a model."""
