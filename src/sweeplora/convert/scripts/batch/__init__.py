"""Windows batch files, by their own rules."""
