"""Fetching model files from registries: Hugging Face and Ollama."""
