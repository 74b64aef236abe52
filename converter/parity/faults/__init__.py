"""What a wrong layer looks like: the mistake that, undone, gives what the original gave."""
