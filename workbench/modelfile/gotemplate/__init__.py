"""Go's text/template, with the functions and the data of Ollama, within fixed limits.

All functions that parse or evaluate a template raise GoTemplateError if Go would refuse it or a limit is reached.
"""
