"""OpenAI's transcriptions, for clients and vendors that both speak it: a file of sound becomes text.

- `form`: the body, in several parts.
- `request`: a request, its size and the body for a vendor.
- `answer`: a vendor's text on its way to the client, in the form that was asked for.
- `subtitles`: that text as SRT or WebVTT.
- `dialect`: the whole, for the call path.
"""
