"""Making quantizations: the dialog, the queue and the progress bar."""
