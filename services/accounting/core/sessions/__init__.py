"""Charging sessions: their quota, their usage, and its cost."""
