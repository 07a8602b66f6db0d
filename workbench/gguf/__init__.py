"""Reading of model files without loading them: header, tensors, quantizations, memory requirements."""
