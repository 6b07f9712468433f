"""The contract, over a real server."""
