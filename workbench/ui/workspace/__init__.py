"""The state behind the chat, without Textual: open model, conversation, running answer, session recorder."""
