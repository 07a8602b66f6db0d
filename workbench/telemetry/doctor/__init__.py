"""The doctor: facts of the machine, its GPUs and the build of llama.cpp, and findings with their fixes."""
