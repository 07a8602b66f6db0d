"""Go's text/template, with the functions and the data of Ollama, within fixed limits.

Whatever parses or evaluates a template raises GoTemplateError where Go would refuse it, or where a limit is reached.
"""
