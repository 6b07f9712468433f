"""The most bytes of a whole answer. Data alone."""

from typing import Final

# Metadata of an answer, beside its output.
ANSWER_BYTES: Final = 64 * 1024
# A token of output in JSON: vocabularies have words of 128 spaces, and some vendors write each character as an escape.
TOKEN_BYTES_MAX: Final = 256
# Results of the vendor's own tools within an answer: pages, mostly.
RESULTS_BYTES_MAX: Final = 8 * 1024 * 1024
# Vendors describe their own tools to their models in hidden words; no tool is known to take more tokens than this.
VENDOR_TOOL_TOKENS: Final = 2_048
