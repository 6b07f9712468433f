"""Tokens of a text where no vendor has counted them. Pure, except for the files of vocabularies.

Three counts, from cheap to exact:

- `size.TextSize`: bytes and characters by class, added up over a call's texts and a stream's chunks. Its bytes bound the tokens of
  every byte-level tokenizer, because each token stands for at least one byte.
- `estimate`: tokens from a size for a tokenizer that is not carried, with a published lower and upper error (docs/tokens.md).
- `tokenizers`: the tokenizers carried by packages, exact, loaded when first needed.

It knows neither protos nor requests; the edge's meter calls it.
"""
