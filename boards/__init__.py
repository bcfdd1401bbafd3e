"""Boards as data: one short file a board."""
