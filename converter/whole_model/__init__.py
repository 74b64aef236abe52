"""A configuration → the graph that it describes → the residual network that it is."""
