"""Protocols of clients and vendors, one file each. A dialect reads, sizes, writes and words; it decides nothing."""
