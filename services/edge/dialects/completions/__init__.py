"""OpenAI's completions, the older form of chat: a prompt is gone on with. For clients and vendors that both speak it.

- `request`: a request, its size and the body for a vendor.
- `answer`: a vendor's answer on its way to the client: that of a chat, with texts in place of messages.
- `probabilities`: probabilities of tokens, in this dialect's own form.
- `dialect`: the whole, for the call path.
"""
