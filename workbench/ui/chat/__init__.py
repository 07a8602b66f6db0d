"""The chat screen: conversation, prompt, statistics panel and the actions on messages."""
