"""The bench: what is timed, in which order, and what the samples say."""
