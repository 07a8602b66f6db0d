"""Modelfiles, read and written as Ollama does."""
