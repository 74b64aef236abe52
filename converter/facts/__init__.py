"""Facts about a network that its file may leave open, each with its evidence."""
