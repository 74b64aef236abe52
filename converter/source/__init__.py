"""A network as PyTorch source that needs torch alone."""
