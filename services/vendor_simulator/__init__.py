"""A vendor that makes no text of worth but real traffic: the OpenAI chat completions protocol with exact token counts.

It owns nothing that lasts. One token is four ASCII bytes, on the way in and on the way out, so that a call's usage is
known before the call is made. A request's `simulate` object says how many tokens come back, how fast, how usage is
reported and what fails; requests without it get a short answer. What was served is counted per key and per user.
The edge calls it as it calls any vendor; it calls nobody.
"""
