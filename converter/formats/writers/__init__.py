"""One file per output format: its `SUFFIXES`, the package that it `NEEDS`, `write` and `read`.

`write` is told of every tensor beforehand (`specs`), is handed them one by one in another order,
and adds the checksum to the description. `read` gives back tensors and description.
"""
