"""Which array goes where, through which steps, and whether its numbers can be right."""
