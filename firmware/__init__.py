"""Bare-metal C for the soft CPU, and what turns it into an image."""
