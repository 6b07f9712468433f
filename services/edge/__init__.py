"""The edge: the HTTP door of a cell, for API clients and for the operator's administration.

It owns the dialects, the estimate of a call's tokens, the vendor call, the stream and the charge matrix. It owns no prices, no
balances and no keys. Prices come from the registry's catalog, the principal from authentication, and accounting is asked before and
after each call. The edge keeps nothing that another edge would need, so any number of edges may serve a cell.

Invariants: no vendor is called without a grant; usage is reported exactly as it was counted; prompts and completions are neither
logged nor stored; every answer carries `x-request-id`, every error has OpenAI's shape, and a neighbour's failure is 5xx, never 401
and never 429.

Called by API clients, the portal and the command line. It calls vendors, registry, authentication, accounting and billing.
"""
