"""Go's text/template, with what Ollama adds to it."""
