"""What trains the built-in model: its media, its samples, its loss, its run."""
