"""Replicas of one cell."""
