"""The rules, tested with values."""
