"""Model files to Graphs."""
