"""The open model as an HTTP API for other programs: OpenAI's, Anthropic's, and the part of Ollama's that clients need.

An optional extra: `pip install workbench[serve]` brings Starlette and uvicorn.
"""
