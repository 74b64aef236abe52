"""Names, order and shapes of a file of weights alone → the network that they are of."""
