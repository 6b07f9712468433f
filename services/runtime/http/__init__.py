"""The HTTP/1.1 server of every process that speaks HTTP: a listener whose limits stand where bytes come in.

`listener` takes connections, at most a number of them in all and of one address, and looks every second at what lasts too long.
`connection` reads requests off one of them in order; `exchange` is one request with its answer, and what applications are given.
`asgi` serves ASGI applications over it. It knows nothing of what is served: whoever listens words the server's own refusals.
"""
