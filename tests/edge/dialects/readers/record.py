"""Records what readers in Go and JavaScript make of bodies, in `recorded.json`: `python -m tests.edge.dialects.readers.record`.

With `--check` nothing is written, and a difference to what is recorded is an error. Needs `go` and `node`.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from services.edge.call.dialect import Body
from services.edge.dialects.chat.dialect import ChatCompletions
from services.edge.http.problems import Problem
from services.edge.vendors.profile import Endpoint, Unknown

HERE = Path(__file__).parent
RECORDED = HERE / "recorded.json"
# The endpoint that lets most through.
ENDPOINT = Endpoint("vendor", "openai_chat", "http://vendor.test/v1", unknown_fields=Unknown.PASSED)
LIMIT = 77

_MESSAGES = '"messages":[{"role":"user","content":"x"}]'
_MODEL = '"model":"m"'
CASES = [
    f"{{{_MODEL},{_MESSAGES}}}",
    *(
        f"{{{_MODEL},{_MESSAGES},{inner}}}"
        for inner in (
            '"Model":"dear"',
            '"MODEL":"dear"',
            '"mode\\u004c":"dear"',
            '"model":"other"',
            '"N":100',
            '"n":1,"N":100',
            '"n":1,"n":2',
            '"max_tokens":1,"Max_Tokens":100000',
            '"max_tokens":1,"max_token\u017f":100000',
            '"max_tokens":1,"max_token\\u017f":100000',
            '"max_tokens":1,"max_to\u212aens":100000',
            '"max_tokens":1,"max_tokens":2',
            '"max_tokens":1,"max_completion_tokens":5',
            '"max_tokens":9,"Max_Completion_Tokens":5',
            '"max_tokens":1e3',
            '"max_tokens":10.0',
            '"max_tokens":9007199254740993',
            '"max_tokens":"5"',
            '"max_tokens":null',
            '"Stream":true',
            '"stream":false,"\u017ftream":true',
            '"stream":true,"stream_options":{"include_usage":false,"Include_Usage":true}',
            '"stream":true,"stream_options":{"include_usage":true},"stream_options":{"include_obfuscation":true}',
            '"stream":true,"Stream_Options":{"include_usage":false}',
            '"Messages":[{"role":"user","content":"dear"}]',
            '"messages":[{"role":"user"}]',
            '"messages":[{"role":"user","content":"y","Content":"dear"}]',
            '"messages":[{"role":"user","content":"y","content":"dear"}]',
            '"messages":[{"role":"user","content":"y","\\u0063ontent":"dear"}]',
            '"messages":[{"role":"user","Role":"system","content":"y"}]',
            '"messages":[{"role":"user","content":"\\ud800"}]',
            '"messages":[{"role":"user","content":"\\ud83d\\ude42"}]',
            '"messages":[{"role":"user","content":[{"type":"text","text":"y","text":"z"}]}]',
            '"temperature":1.50,"seed":12345678901234567890123',
            '"user":"\\ud800"',
        )
    ),
]


def sent(body: str) -> str | None:
    """The body that a vendor gets for a client's; None: it is refused."""
    try:
        request = ChatCompletions().read(Body(body.encode(), "application/json"), {})
        return request.vendor_request(ENDPOINT, request.model_id, LIMIT, streamed=request.streamed).body.content.decode()
    except Problem:
        return None


def run(command: list[str], bodies: list[str]) -> list[Any]:
    """What a reader makes of bodies, in order; None: it refuses the body."""
    done = subprocess.run(command, cwd=HERE, input=json.dumps(bodies), capture_output=True, text=True, check=True)
    read: list[Any] = json.loads(done.stdout)
    return read


def record() -> list[dict[str, Any]]:
    """A row for each case: the client's body, the vendor's, and what each reader makes of either."""
    vendor_bodies = [sent(body) for body in CASES]
    accepted = [body for body in vendor_bodies if body is not None]
    rows = [{"body": body, "sent": other} for body, other in zip(CASES, vendor_bodies, strict=True)]
    for name, command in (("go", ["go", "run", "reader.go"]), ("javascript", ["node", "reader.js"])):
        of_sent = iter(run(command, accepted))
        for row, of_body in zip(rows, run(command, CASES), strict=True):
            row[f"{name}_of_body"] = of_body
            row[f"{name}_of_sent"] = next(of_sent) if row["sent"] is not None else None
    return rows


def main() -> None:
    """Writes the record, or compares it."""
    rows = record()
    if "--check" not in sys.argv:
        RECORDED.write_text(json.dumps(rows, indent=1, ensure_ascii=True) + "\n")
    elif rows != json.loads(RECORDED.read_text()):
        sys.exit(
            "The readers make something else of the bodies than is recorded: run this without --check, and look at the difference."
        )


if __name__ == "__main__":
    main()
