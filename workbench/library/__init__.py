"""The models on this machine: search, names, groups, and Modelfiles."""
