"""What is written: our own layout, and one file per destination of `--to`."""
