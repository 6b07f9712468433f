"""The phone bill: hands what it shall say to the operator's carrier billing, by CAMARA's documents, and proves that it said so.

In reading order: `demands`, the nouns; `planning`, which items and orders are asked for; `store`; `identity` and `client`, the way
to the carrier; `orders`, the way to accounting; `steps` and `worker`, which carry demands through to their ends; `comparison`,
the proof.

Invariants: a demand is durable before the carrier hears of it, and goes there under its own identifier for ever; after an answer
that is missing or doubtful the carrier is asked what it has before it is asked to bill; what it has is never asked for again.
"""
