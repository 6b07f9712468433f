"""A gRPC server under peers that write HTTP/2 as nobody should."""
