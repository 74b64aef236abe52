"""One file per output format; its `SUFFIXES` say which TARGETs it writes."""
