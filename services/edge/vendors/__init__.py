"""How vendors are called: HTTP, the events of their streams, what is known of each of them."""
