"""Graph to Graph."""
