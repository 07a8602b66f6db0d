"""Long work that goes on while the user is on any screen: its queue, its bar and its reports."""
