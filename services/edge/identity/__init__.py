"""Identity of callers."""
