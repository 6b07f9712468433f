"""Records what readers in Go and JavaScript make of bodies, in `recorded.json`: `python -m tests.edge.dialects.readers.record`.

With `--check` nothing is written, and a difference to what is recorded is an error. Needs `go` and `node`.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from services.edge.call.dialect import Body, Dialect, Request
from services.edge.dialects.anthropic_messages.dialect import MESSAGES
from services.edge.dialects.chat.dialect import ChatCompletions
from services.edge.dialects.completions.dialect import Completions
from services.edge.dialects.embeddings.dialect import Embeddings
from services.edge.dialects.responses.dialect import Responses
from services.edge.http.problems import Problem
from services.edge.vendors.profile import Endpoint, Unknown

HERE = Path(__file__).parent
RECORDED = HERE / "recorded.json"
DIALECTS: Final[dict[str, Dialect]] = {
    "openai_chat": ChatCompletions(),
    "anthropic_messages": MESSAGES,
    "openai_responses": Responses(),
    "openai_completions": Completions(),
    "openai_embeddings": Embeddings(),
}
LIMIT = 77

_MESSAGES = '"messages":[{"role":"user","content":"x"}]'
_MODEL = '"model":"m"'
_CHAT = [
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


_TURN = '"max_tokens":50,"messages":[{"role":"user","content":"x"}]'
_THINKING = '"thinking":{"type":"enabled","budget_tokens":1024'
_ANTHROPIC = [
    f"{{{_MODEL},{_TURN}}}",
    f'{{{_MODEL},"messages":[{{"role":"user","content":"x"}}]}}',
    *(
        f"{{{_MODEL},{_TURN},{inner}}}"
        for inner in (
            '"Model":"dear"',
            '"mode\\u004c":"dear"',
            '"model":"other"',
            '"Max_Tokens":100000',
            '"max_token\u017f":100000',
            '"max_token\\u017f":100000',
            '"max_to\u212aens":100000',
            '"max_tokens":2',
            '"max_tokens":100000',
            '"max_tokens":1e3',
            '"max_tokens":10.0',
            '"max_tokens":9007199254740993',
            '"max_tokens":"5"',
            '"max_tokens":null',
            '"max_completion_tokens":100000',
            '"Stream":true',
            '"stream":false,"\u017ftream":true',
            '"stream":true,"stream":false',
            '"system":"Be brief."',
            '"system":"Be brief.","System":"Be long."',
            '"system":"Be brief.","system":"Be long."',
            '"system":[{"type":"text","text":"Be brief.","Text":"Be long."}]',
            '"system":[{"type":"text","text":"Be brief.","text":"Be long."}]',
            _THINKING + "}",
            _THINKING + ',"Budget_Tokens":100000}',
            _THINKING + ',"budget_tokens":2048}',
            _THINKING + '},"Thinking":{"type":"disabled"}',
            '"Messages":[{"role":"user","content":"dear"}]',
            '"messages":[{"role":"user","content":"y","Content":"dear"}]',
            '"messages":[{"role":"user","content":"y","content":"dear"}]',
            '"messages":[{"role":"user","content":"y","\\u0063ontent":"dear"}]',
            '"messages":[{"role":"user","Role":"assistant","content":"y"}]',
            '"messages":[{"role":"user","content":"\\ud800"}]',
            '"messages":[{"role":"user","content":"\\ud83d\\ude42"}]',
            '"messages":[{"role":"user","content":[{"type":"text","text":"y","text":"z"}]}]',
            '"messages":[{"role":"user","content":[{"type":"text","text":"y","TEXT":"z"}]}]',
            '"messages":[{"role":"user","content":[{"type":"text","Type":"thinking","text":"y"}]}]',
            '"messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":[{"type":"text","text":"y","Text":"z"}]}]}]',
            '"messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":"y","content":"z"}]}]',
            '"messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":"y","Content":"z"}]}]',
            '"temperature":1.50,"top_k":12345678901234567890123',
            '"metadata":{"user_id":"\\ud800"}',
        )
    ),
]
_RESPONSES = [
    f'{{{_MODEL},"input":"x"}}',
    *(
        f'{{{_MODEL},"input":"x",{inner}}}'
        for inner in (
            '"Model":"dear"',
            '"mode\\u004c":"dear"',
            '"model":"other"',
            '"max_output_tokens":50',
            '"max_output_tokens":50,"Max_Output_Tokens":100000',
            '"max_output_tokens":50,"max_output_token\u017f":100000',
            '"max_output_tokens":50,"max_output_to\\u212aens":100000',
            '"max_output_tokens":50,"max_output_tokens":60',
            '"max_output_tokens":1e3',
            '"max_output_tokens":20.0',
            '"max_output_tokens":9007199254740993',
            '"max_output_tokens":null',
            '"max_tokens":100000',
            '"Stream":true',
            '"stream":false,"\u017ftream":true',
            '"stream":true,"stream":false',
            '"store":true',
            '"store":true,"Store":true',
            '"Store":true',
            '"previous_response_id":"r"',
            '"Previous_Response_Id":"r"',
            '"previous_response_id":null,"Previous_Response_ID":"r"',
            '"background":false,"Background":true',
            '"instructions":"Be brief."',
            '"instructions":"Be brief.","Instructions":"Be long."',
            '"instructions":"Be brief.","instructions":"Be long."',
            '"Input":"dear"',
            '"input":"dear"',
            '"input":[{"role":"user","content":"y"}]',
            '"input":[{"role":"user","Role":"system","content":"y"}]',
            '"input":[{"role":"user","content":"y","Content":"dear"}]',
            '"input":[{"role":"user","content":"y","content":"dear"}]',
            '"input":[{"role":"user","content":"y","\\u0063ontent":"dear"}]',
            '"input":[{"role":"user","content":"\\ud800"}]',
            '"input":[{"role":"user","content":"\\ud83d\\ude42"}]',
            '"input":[{"role":"user","content":[{"type":"input_text","text":"y","text":"z"}]}]',
            '"input":[{"role":"user","content":[{"type":"input_text","text":"y","TEXT":"z"}]}]',
            '"input":[{"type":"function_call_output","call_id":"c","output":"y","output":"z"}]',
            '"input":[{"type":"function_call_output","call_id":"c","output":"y","Output":"z"}]',
            '"temperature":1.50,"top_k":12345678901234567890123',
        )
    ),
]
# The same for a field of inputs, under either name.
_INPUTS = (
    '"PROMPT":"x"',
    '"PROMPT":["x","y\\u00e9"]',
    '"PROMPT":[1,2]',
    '"PROMPT":[[1],[2,3]]',
    '"PROMPT":[1,-2]',
    '"PROMPT":[1.0]',
    '"PROMPT":[1e1]',
    '"PROMPT":[9007199254740993]',
    '"PROMPT":["x",1]',
    '"PROMPT":"\\ud800"',
    '"PROMPT":""',
    '"PROMPT":[]',
    '"PROMPT":"x","PROMPT":"dear"',
    '"PROMPT":"x","Prompt":"dear"',
    '"PROMPT":"x","Input":"dear"',
    '"PROMPT":"x","mode\\u004c":"dear"',
    '"PROMPT":"x","model":"other"',
    '"PROMPT":"x","MODEL":"dear"',
)
_COMPLETIONS = [
    *(f"{{{_MODEL},{each}}}".replace("PROMPT", "prompt") for each in _INPUTS),
    *(
        f'{{{_MODEL},"prompt":"x",{inner}}}'
        for inner in (
            '"n":2,"N":100',
            '"n":2,"n":3',
            '"n":2,"best_of":2',
            '"n":2,"Best_Of":20',
            '"max_tokens":5,"max_tokens":9',
            '"max_tokens":5,"max_to\u212aens":100000',
            '"max_tokens":5,"max_completion_tokens":100000',
            '"max_tokens":1e3',
            '"stream":true,"Stream":false',
            '"stream":true,"stream_options":{"include_usage":false,"Include_Usage":false}',
            '"echo":true,"Echo":false',
            '"suffix":"y","suffix":"z"',
        )
    ),
]
_EMBEDDINGS = [
    *(f"{{{_MODEL},{each}}}".replace("PROMPT", "input") for each in _INPUTS),
    *(f'{{{_MODEL},"input":"x",{inner}}}' for inner in ('"dimensions":5,"dimensions":9', '"Dimensions":9', '"stream":false')),
]
CASES = [
    *(("openai_chat", body) for body in _CHAT),
    *(("anthropic_messages", body) for body in _ANTHROPIC),
    *(("openai_responses", body) for body in _RESPONSES),
    *(("openai_completions", body) for body in _COMPLETIONS),
    *(("openai_embeddings", body) for body in _EMBEDDINGS),
]


def endpoint(dialect: str) -> Endpoint:
    """The endpoint that lets most through."""
    field = "max_output_tokens" if dialect == "openai_responses" else "max_tokens"
    return Endpoint("vendor", dialect, "http://vendor.test/v1", output_limit_field=field, unknown_fields=Unknown.PASSED)


def read(dialect: str, body: str) -> Request:
    """What the edge reads. Errors: `Problem`."""
    return DIALECTS[dialect].read(Body(body.encode(), "application/json"), {})


def sent(dialect: str, body: str) -> str | None:
    """The body that a vendor gets for a client's; None: it is refused."""
    try:
        request = read(dialect, body)
        asked = request.vendor_request(endpoint(dialect), request.model_id, LIMIT, streamed=request.streamed)
    except Problem:
        return None
    return asked.body.content.decode()


def run(command: list[str], bodies: list[str]) -> list[Any]:
    """What a reader makes of bodies, in order; None: it refuses the body."""
    done = subprocess.run(command, cwd=HERE, input=json.dumps(bodies), capture_output=True, text=True, check=True)
    read: list[Any] = json.loads(done.stdout)
    return read


def record() -> list[dict[str, Any]]:
    """A row for each case: the client's body, the vendor's, and what each reader makes of either."""
    rows: list[dict[str, Any]] = [{"dialect": dialect, "body": body, "sent": sent(dialect, body)} for dialect, body in CASES]
    for name, command in (("go", ["go", "run", "reader.go"]), ("javascript", ["node", "reader.js"])):
        for dialect in DIALECTS:
            own = [row for row in rows if row["dialect"] == dialect]
            accepted = [row for row in own if row["sent"] is not None]
            for row, made in zip(own, run([*command, dialect], [row["body"] for row in own]), strict=True):
                row[f"{name}_of_body"] = made
                row[f"{name}_of_sent"] = None
            for row, made in zip(accepted, run([*command, dialect], [row["sent"] for row in accepted]), strict=True):
                row[f"{name}_of_sent"] = made
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
