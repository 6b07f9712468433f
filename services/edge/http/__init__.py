"""HTTP requests and answers of the edge, whatever they are about."""
