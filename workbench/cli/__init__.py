"""The composition root: one module a command. Only here do faces and workers meet."""
