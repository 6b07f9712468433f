"""`python -m tests.charts.scan`: checkov on every rendering of the chart, on the images' recipes, and for secrets in files.

Ends with 1 if it finds something, or if it did not look. What does not apply, and why, stands in infra/policy/checkov.yaml.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import yaml

from infra.cluster import ROOT
from tests.charts.rendering import CASES, EVERYTHING, merged, rendered

_CHECKOV: Final = ROOT / ".policy/bin/checkov"
# Fewer checks than these, and it did not see the objects.
_PASSED_MIN: Final = {"kubernetes": 3_000, "dockerfile": 80}


def started(*arguments: str | Path) -> "subprocess.Popen[str]":
    """A run of checkov."""
    command = [_CHECKOV, "--config-file", ROOT / "infra/policy/checkov.yaml", "--output", "json", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)


def reports(run: "subprocess.Popen[str]") -> Iterable[dict[str, Any]]:
    """What a run says, by framework; nothing of one that found nothing to look at."""
    text, _ = run.communicate()
    said = json.loads(text)
    return [each for each in (said if isinstance(said, list) else [said]) if "check_type" in each]


def main() -> int:
    """Scans, and prints what was found."""
    if not _CHECKOV.exists():
        print("checkov is not installed; run `make policy`", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="tokenline-scan-") as folder:
        for case, values in CASES.items():
            objects = rendered(merged(values, {"image": EVERYTHING["image"]}))
            (Path(folder) / f"{case.replace(' ', '-')}.yaml").write_text(yaml.safe_dump_all(objects), encoding="utf-8")
        runs = [
            started("--framework", "kubernetes", "--directory", folder),
            started("--framework", "dockerfile", "secrets", "--directory", "."),
        ]
        found = [each for run in runs for each in reports(run)]
    passed: dict[str, int] = {each["check_type"]: each["summary"]["passed"] for each in found}
    failed = [check for each in found for check in each["results"]["failed_checks"]]
    for check in failed:
        place = f"{check['file_path']}:{check['file_line_range'][0]}"
        print(f"{check['check_id']} {check['check_name']}: {check['resource']} in {place}")
    unread = [each["check_type"] for each in found if each["summary"]["parsing_errors"]]
    unseen = [name for name, least in _PASSED_MIN.items() if passed.get(name, 0) < least]
    for name in {*unread, *unseen}:
        print(f"checkov did not read all of {name}: {passed.get(name, 0)} checks passed")
    print(f"checkov: {sum(passed.values())} checks passed, {len(failed)} failed")
    return 1 if failed or unread or unseen else 0


if __name__ == "__main__":
    sys.exit(main())
