"""Markdown as styled lines: parsed, laid out and streamed without a widget for each block.

A tree of widgets parses, highlights and lays out its whole last block again with every fragment, and the cost of a
token grows with the answer. Lines are laid out once; a fragment touches only the block that is still open.
"""
