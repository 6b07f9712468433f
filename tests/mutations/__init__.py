"""Faults that are planted one at a time into a copy of the code, each with the tests that must notice it."""
