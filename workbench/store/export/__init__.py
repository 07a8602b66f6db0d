"""Sessions as files for other programs: a Modelfile, Markdown, JSON, or commands for a shell."""
