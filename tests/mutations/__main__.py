"""Plants all faults: `python -m tests.mutations`, or those alone whose names have the words given.

Ends with 1 if one of them survives, or if what it would change is no longer there. With all of them, readers in Go and JavaScript
are asked whether they still read what is recorded of them; where `go` or `node` is not here, that is an error too.
"""

import shutil
import subprocess
import sys

from tests.mutations.actors import ACTORS
from tests.mutations.alarms import ALARMS
from tests.mutations.amounts import AMOUNTS
from tests.mutations.calls import CALLS
from tests.mutations.charges import CHARGES
from tests.mutations.chart import CHART
from tests.mutations.counts import COUNTS
from tests.mutations.delivery import DELIVERY
from tests.mutations.dialects import DIALECTS
from tests.mutations.doors import DOORS
from tests.mutations.durability import DURABILITY
from tests.mutations.ends import ENDS
from tests.mutations.free import FREE
from tests.mutations.games import GAMES
from tests.mutations.identities import IDENTITIES
from tests.mutations.kept import KEPT
from tests.mutations.keys import KEYS
from tests.mutations.media import MEDIA
from tests.mutations.members import MEMBERS
from tests.mutations.metering import METERING
from tests.mutations.once import ONCE
from tests.mutations.overload import OVERLOAD
from tests.mutations.owners import OWNERS
from tests.mutations.ownership import OWNERSHIP
from tests.mutations.phone_bill import PHONE_BILL
from tests.mutations.planting import ROOT, plant_all, run_tests
from tests.mutations.price_lists import PRICE_LISTS
from tests.mutations.records import RECORDS
from tests.mutations.responses import RESPONSES
from tests.mutations.routes import ROUTES
from tests.mutations.routing import ROUTING
from tests.mutations.rules import RULES
from tests.mutations.runs import RUNS
from tests.mutations.services import SERVICES
from tests.mutations.services_trust import SERVICES_TRUST
from tests.mutations.shelf import SHELF
from tests.mutations.sockets import SOCKETS
from tests.mutations.translation import TRANSLATION

MUTATIONS = (
    *CALLS,
    *ROUTING,
    *METERING,
    *FREE,
    *DIALECTS,
    *RESPONSES,
    *TRANSLATION,
    *KEYS,
    *ENDS,
    *ONCE,
    *PHONE_BILL,
    *DOORS,
    *OVERLOAD,
    *SOCKETS,
    *DELIVERY,
    *CHARGES,
    *SERVICES,
    *SERVICES_TRUST,
    *CHART,
    *ALARMS,
    *AMOUNTS,
    *OWNERSHIP,
    *RECORDS,
    *MEMBERS,
    *IDENTITIES,
    *ACTORS,
    *RUNS,
    *RULES,
    *GAMES,
    *KEPT,
    *ROUTES,
    *OWNERS,
    *DURABILITY,
    *MEDIA,
    *SHELF,
    *PRICE_LISTS,
    *COUNTS,
)


def readers_differ() -> bool:
    """Whether readers in other languages read otherwise than is recorded, or cannot be asked."""
    if missing := [tool for tool in ("go", "node") if shutil.which(tool) is None]:
        print(
            f"NO RUN    readers in Go and JavaScript: {' and '.join(missing)} cannot be found. "
            "Install Go 1.22 or later and Node.js 18 or later so that `go` and `node` are on the PATH."
        )
        return True
    done = subprocess.run([sys.executable, "-m", "tests.edge.dialects.readers.record", "--check"], cwd=ROOT, check=False)
    print(f"{'DIFFER' if done.returncode else 'agree':8}  readers in Go and JavaScript")
    return done.returncode != 0


def main() -> int:
    """Runs what the command line names."""
    words = " ".join(sys.argv[1:])
    mutations = [mutation for mutation in MUTATIONS if words in mutation.name]
    if not mutations:
        print(f"no fault has {words!r} in its name")
        return 1
    planted = plant_all(mutations, run_tests)
    return max(planted, 0 if words else int(readers_differ()))


if __name__ == "__main__":
    sys.exit(main())
