"""What a cell's members understand beyond the first release; names of `tokenline.accounting.v1.Feature`.

Old readers drop trailing elements in silence. So nothing that only newer code understands is written until every member of the
cell announces that it does.
"""

from typing import Final

# Later token classes, what is absorbed and left unpaid, and the close cause `revoked`.
EXTENDED_USAGE: Final = "FEATURE_TOKEN_CLASSES"
# Actors of the commands that made a row's entries.
ACTORS: Final = "FEATURE_ACTORS"
# What this code understands.
OWN: Final = frozenset({EXTENDED_USAGE, ACTORS})
