"""Translation among chat completions, messages and responses, where no vendor of a model speaks the client's dialect. Pure.

One neutral form of a conversation, and one of an answer's events, stand between the dialects: three readers and three writers of
each. The vendor's dialect stays the meter. It reads the request that is written here, and counts the vendor's answer before it is
told in the client's dialect.

- `conversation`: a request in no dialect's form; `pairing` puts its calls and results together.
- `proofs`: vendors' proofs of thought, sealed for the client's opaque fields.
- `refusals`: problems of what cannot be carried.
- `requests`: a reader and a writer of requests for each dialect.
- `telling`: an answer's events in no dialect's form, and the order in which they are told.
- `answers`: a reader and a writer of answers for each dialect.
- `request`, `answer`: a translated call, as the call path sees it.
- `translator`: the choice of a dialect.
"""
