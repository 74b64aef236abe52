"""One file per container. A file is recognised by what is in it, never by its suffix."""
