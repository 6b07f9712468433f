"""Vendors that can answer a call, in the order of trying."""
