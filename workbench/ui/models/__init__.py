"""The models screen: the library as a list, with memory estimates and what-if settings."""
