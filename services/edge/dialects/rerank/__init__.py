"""Ranks of documents for a query, in the shape that Jina and Cohere share: scores come back, and nothing is said.

- `request`: a request, its size and the body for a vendor.
- `answer`: a vendor's scores on their way to the client, checked.
- `dialect`: the whole, for the call path.
"""
