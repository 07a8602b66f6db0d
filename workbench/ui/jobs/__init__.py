"""Work that goes on while the user is on any screen."""
