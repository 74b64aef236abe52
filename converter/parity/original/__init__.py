"""The original: Keras in a process of its own, or a record of what it computed."""
