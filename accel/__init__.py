"""From a model file to an accelerator."""
