"""The divergence lens over an answer of the chat."""
