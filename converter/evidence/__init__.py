"""What a file says about its network: each fact with its evidence, by where it comes from."""
