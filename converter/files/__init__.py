"""What lies on disk, as Keras left it and as we write it: opened, parsed in a process of its own,
read by name, and put in place whole."""
