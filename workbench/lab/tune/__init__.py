"""Tuning: the fastest settings of a model that fit, speed by context depth, and figures that must not get worse."""
