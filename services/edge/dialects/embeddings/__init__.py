"""OpenAI's embeddings, for clients and vendors that both speak it: inputs become vectors, and nothing is said.

- `request`: a request, its size and the body for a vendor.
- `answer`: a vendor's vectors on their way to the client, checked and passed on as they came.
- `dialect`: the whole, for the call path.
"""
