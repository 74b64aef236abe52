"""One file per naming: a literal table, `DIALECT`."""
