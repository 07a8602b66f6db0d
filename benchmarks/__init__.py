"""What is timed: each script prints a table and one line of JSON. Run them from a checkout, on a quiet machine."""
