"""Tokenline and other gateways side by side in one run: CPU a call with quota on, and the rate that each bears within a p99.

`install` fetches peers from their registries into a cache outside the repository, each into a folder of its own; nothing of
Tokenline depends on them. `systems`, `one_api` and `litellm` run one system each, all under the same vendor simulator, load
generator and requests (`calls`). `measure` takes turns among them, `report` writes the table. docs/benchmarks.md says what
was found, and what each setting is.
"""
