"""OpenAI's images, for clients and vendors that both speak it: a text becomes images, as addresses or in base64.

- `request`: a request, its size and the body for a vendor.
- `answer`: a vendor's images on their way to the client, counted.
- `dialect`: the whole, for the call path.
"""
