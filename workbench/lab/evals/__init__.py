"""Own prompts with checks on their answers, and blind tests: which of several models is better at them."""
