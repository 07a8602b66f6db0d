"""Servers as engines: Ollama, llama-server, vLLM, LM Studio, TGI, and any other that speaks the OpenAI API."""
