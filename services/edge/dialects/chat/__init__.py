"""OpenAI's chat completions, for clients and vendors that both speak it.

- `fields`: every known top-level field, and its treatment.
- `messages`: messages, read so far that they can be counted and written anew.
- `request`: a request, its size and the body for a vendor.
- `chunks`: a vendor's chunks, read strictly or as any JSON.
- `deltas`: a chunk's or a message's parts, put right and counted.
- `probabilities`: probabilities of tokens, as far as they can be true.
- `assembly`: chunks, joined to a whole answer.
- `answer`: a vendor's answer on its way to the client.
- `dialect`: the whole, for the call path.
"""
