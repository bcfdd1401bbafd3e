"""The LiteX SoC around the accelerator."""
