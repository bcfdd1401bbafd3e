"""The registry of models and tasks, training, and the small models trained here."""
