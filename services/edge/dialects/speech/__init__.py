"""OpenAI's speech, for clients and vendors that both speak it: a text becomes sound, whose bytes pass as they come.

- `request`: a request, its size and the body for a vendor.
- `answer`: a vendor's sound on its way to the client.
- `dialect`: the whole, for the call path.
"""
