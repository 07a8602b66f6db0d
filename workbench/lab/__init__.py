"""The experiments, headless: what is raced, and what is measured."""
