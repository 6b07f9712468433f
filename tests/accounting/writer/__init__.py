"""Owners, in virtual time."""
