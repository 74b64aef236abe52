"""One file per output format: its `SUFFIXES`, the package that it `NEEDS`, `write` and `read`."""
