"""Reading model files without loading them: header, tensors, quantizations, and the arithmetic of memory."""
