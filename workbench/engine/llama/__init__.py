"""llama.cpp in this process, over the low-level API of llama-cpp-python."""
