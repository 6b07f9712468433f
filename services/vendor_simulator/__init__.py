"""A vendor that makes no text of worth but real traffic, counted exactly: OpenAI's chats and responses, Anthropic's messages.

It owns nothing that lasts. One token is four ASCII bytes, on the way in and on the way out, so that a call's usage is
known before the call is made; scripts other than plain text have a share of their own. A request's `simulate` object says
how many tokens come back, how fast, how usage is reported and what fails; requests without it get a short answer.
Bodies are read as Go reads them, names folded and the last of several winning. Served calls are counted per key, per
user and per model. The edge calls it as it calls any vendor; it calls nobody. docs/vendor-simulator.md has every field.
"""
