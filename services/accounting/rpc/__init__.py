"""The gRPC contract: messages to commands and entries, and back. Nothing is decided here."""
