"""OpenAI's responses, `POST /responses`, for clients and vendors that both speak it.

- `names`: fields, items and events, and the treatment of each.
- `items`: the input, read so far that each byte that may become tokens is counted.
- `request`: a request, its size and the body for a vendor.
- `output`: items of an answer, as far as they were told.
- `meaning`: what an event says for charging. Its texts are told several times, and count once.
- `telling`: events that the edge writes itself: the end of what was cut, and a whole answer as a stream.
- `answer`: a vendor's answer on its way to the client.
- `dialect`: the whole, for the call path.
- `chain`: responses over one WebSocket, which build on one another.

Except for the last conversation of a WebSocket nothing is kept here, and vendors are told to keep nothing: a request has its whole
conversation in `input`.
"""
