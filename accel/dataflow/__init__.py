"""Graph to Pipeline: hardware nodes, folding, cost."""
