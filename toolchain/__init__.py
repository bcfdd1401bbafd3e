"""Finding tools, running flows, reading their reports."""
