"""Anthropic's messages: `POST /messages` and `POST /messages/count_tokens`, as clients such as Claude Code speak them.

A request is read whole, so that every reader downstream sees one meaning: of two members of one name the last, numbers in their own
text, no name that another reader folds onto a known one. The vendor's body is written anew from what was read. An answer is relayed
event by event, or assembled as the official SDKs do it. `dialect` is what the call path uses; the other modules are its parts.
"""
