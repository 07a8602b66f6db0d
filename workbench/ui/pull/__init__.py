"""Getting models: the screen of registries, the queue of downloads, and its bar."""
