"""What is durable: older journals are read, and the bytes stay as they are."""
