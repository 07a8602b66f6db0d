"""The engine in a child process: the same ports as in process, behind a pipe."""
