"""Evaluations and blind tests."""
