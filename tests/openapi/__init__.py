"""The OpenAPI documents of docs/openapi, held to the code and to what a cell answers."""
