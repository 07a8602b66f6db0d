"""The bench screen: what to measure, its results, plots and kept runs."""
