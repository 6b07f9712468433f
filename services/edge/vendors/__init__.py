"""Calls to vendors: HTTP, the events of their streams, and the profile of each."""
