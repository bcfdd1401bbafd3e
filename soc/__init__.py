"""The LiteX SoC and its simulation."""
