"""Features that a cell's members understand beyond the first release; names of `tokenline.accounting.v1.Feature`.

Old readers drop trailing elements in silence. So anything that only newer code understands is written once every member of the
cell announces the feature.
"""

from typing import Final

# Later token classes, absorbed and unpaid amounts, and the close cause `revoked`.
EXTENDED_USAGE: Final = "FEATURE_TOKEN_CLASSES"
# Actors of the commands that made a row's entries.
ACTORS: Final = "FEATURE_ACTORS"
# Runs of minted keys, and labels of calls.
RUNS: Final = "FEATURE_RUNS"
# Weights of allowances, sales without refund, and parts of prices that went back.
SALES: Final = "FEATURE_SALES"
# Features of this code.
OWN: Final = frozenset({EXTENDED_USAGE, ACTORS, RUNS, SALES})
