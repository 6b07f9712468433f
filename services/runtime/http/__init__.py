"""The HTTP/1.1 server of every process that speaks HTTP: a listener whose limits stand where bytes come in.

`listener` takes connections, at most a number of them in all and of one address, and looks every second for those that last too
long. `connection` reads requests off one of them in order; `exchange` is one request with its answer, for applications. `asgi`
serves ASGI applications over it; `websocket` goes on with one as a socket. It knows no application: the caller words the server's
own refusals.
"""
