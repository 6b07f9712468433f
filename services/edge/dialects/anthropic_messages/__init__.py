"""Anthropic's messages: `POST /messages` and `POST /messages/count_tokens`, as clients such as Claude Code speak them.

A request is read whole, so that every reader downstream sees one meaning. Of two members of one name the last holds, numbers keep
their text, and no name may fold onto a known one. The vendor's body is written anew from that. An answer is relayed event by
event, or assembled as the official SDKs do it. The call path uses `dialect`; the other modules are its parts.
"""
