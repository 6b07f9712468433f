"""How clients and vendors speak: one file a protocol. A dialect reads, sizes, writes and words; it decides nothing."""
