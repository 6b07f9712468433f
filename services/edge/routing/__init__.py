"""Which vendors can answer a call, and in which order they are tried."""
