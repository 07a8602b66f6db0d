"""Making quantizations with llama.cpp in a child process."""
