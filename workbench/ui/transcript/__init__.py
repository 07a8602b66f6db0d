"""The transcript: the turns of a conversation as widgets."""
