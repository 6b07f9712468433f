"""Requests: a reader and a writer for each dialect.

A reader takes a request that its dialect has read and found good. It refuses what the neutral form cannot hold, and names what it
leaves out. A writer makes a body that its own dialect reads again.
"""
