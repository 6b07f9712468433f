"""The edge: the HTTP door of a cell, for API clients and for the operator's administration.

It owns the dialects, the estimate of a call's tokens, the vendor call, the stream and the charge matrix. It owns no prices, no
balances and no keys: it takes prices from the registry's catalog, asks accounting before and after each call, and asks
authentication who calls. It keeps nothing that another edge would need, so any number of them may serve a cell.

What always holds: no vendor is called without a grant; usage is reported exactly as it was counted; prompts and completions are
neither logged nor stored; every answer carries `x-request-id`, every error has OpenAI's shape, and a neighbour's failure is 5xx,
never 401 and never 429.

Called by API clients, the portal and the command line. It calls vendors, registry, authentication, accounting and billing.
"""
