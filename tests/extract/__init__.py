"""Hostile and honest images, brought to volumes by the real program from a real registry."""
