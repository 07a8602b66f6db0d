"""Servers as engines: Ollama, llama-server, vLLM, LM Studio, TGI, and whatever else speaks the OpenAI API."""
