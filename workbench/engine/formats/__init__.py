"""The formats that answers have to have: reading them, turning them into grammars, and judging answers."""
