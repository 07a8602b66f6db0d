"""What is kept on disk: the configuration, sessions and exports."""
