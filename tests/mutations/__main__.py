"""Plants all faults: `python -m tests.mutations`, or those alone whose names have the words given.

Ends with 1 if one of them survives, or if what it would change is no longer there. With all of them, readers in Go and JavaScript
are asked whether they still read what is recorded of them.
"""

import shutil
import subprocess
import sys

from tests.mutations.calls import CALLS
from tests.mutations.chart import CHART
from tests.mutations.dialects import DIALECTS
from tests.mutations.planting import ROOT, plant_all, run_tests
from tests.mutations.services import SERVICES
from tests.mutations.services_trust import SERVICES_TRUST

MUTATIONS = (*CALLS, *CHART, *DIALECTS, *SERVICES, *SERVICES_TRUST)


def readers_differ() -> bool:
    """Whether readers in other languages read otherwise than is recorded; false where they are not here."""
    if missing := [tool for tool in ("go", "node") if shutil.which(tool) is None]:
        print(f"not checked: what readers in Go and JavaScript make of bodies, as {' and '.join(missing)} cannot be found")
        return False
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
