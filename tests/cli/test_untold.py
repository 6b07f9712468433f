"""Pages and commands for operators: no key, no secret, no prompt stands there, and nobody makes series by names of his own."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

from services.api_keys import new_key
from services.cli.data_folder import Demo
from tests.cli.processes import Up, run, up
from tests.cli.stand_in import StandIn, serving
from tests.waiting import WAIT_S

SECRET: Final = "sk-secret-of-the-vendor"
PROMPT: Final = "a-prompt-that-nobody-repeats"
SIMULATED, REAL = "qwen-flash", "deepseek-v4-flash"


class _Parrot(StandIn):
    """Refuses whatever is asked, and quotes all that it was told: the secret, alone as a code, and the prompt."""

    def do_GET(self) -> None:
        told = self.headers["authorization"] + self.rfile.read(int(self.headers["content-length"] or 0)).decode()
        code = self.headers["authorization"].removeprefix("Bearer ")
        body = json.dumps({"error": {"message": told, "type": told, "param": told, "code": code}}).encode()
        self.answer(401, body)

    def do_POST(self) -> None:
        self.do_GET()


@contextmanager
def parrot() -> Iterator[str]:
    with serving(_Parrot) as port:
        yield f"http://127.0.0.1:{port}/v1"


def asked(demo: Demo, path: str, api_key: str, body: Any = None) -> tuple[int, str]:
    """The status and the charging_id of a request."""
    connection = HTTPConnection(urlsplit(demo.base_url).netloc, timeout=WAIT_S)
    try:
        headers = {"authorization": f"Bearer {api_key}", "content-type": "application/json"}
        connection.request("GET" if body is None else "POST", path, None if body is None else json.dumps(body), headers)
        response = connection.getresponse()
        response.read()
        return response.status, response.headers.get("x-request-id", "")
    finally:
        connection.close()


def chat(model: str) -> dict[str, Any]:
    return {"model": model, "max_tokens": 9, "messages": [{"role": "user", "content": PROMPT}]}


def metrics(demo: Demo) -> str:
    with urlopen(f"{demo.admin_url}/metrics", timeout=WAIT_S) as page:
        return str(page.read().decode())


def printed(system: Up, *arguments: str) -> str:
    """What a command says, as a table and as JSON."""
    forms = ((), () if arguments[0] == "top" else ("--output", "json"))
    return "".join(run(*arguments, *form, "--data-dir", str(system.data_dir)).output for form in forms)


def test_no_page_and_no_command_for_operators_tells_a_key_a_secret_or_a_prompt(tmp_path: Path) -> None:
    with parrot() as address:
        environment = {"TOKENLINE_DEEPSEEK_API_KEY": SECRET, "TOKENLINE_DEEPSEEK_BASE_URL": address}
        with up(tmp_path, "--access-log", **environment) as system:
            demo = system.demo
            status, answered_id = asked(demo, "/v1/chat/completions", demo.api_key, chat(SIMULATED))
            assert status == 200
            status, failed_id = asked(demo, "/v1/chat/completions", demo.api_key, chat(REAL))
            assert status >= 500
            for name in (demo.api_key, SECRET, PROMPT):
                assert asked(demo, "/v1/chat/completions", demo.api_key, chat(name))[0] == 404
                assert asked(demo, f"/v1/{name}", demo.api_key)[0] == 404
                assert asked(demo, f"/v1/models/{name}", demo.api_key)[0] == 404
            unknown = new_key("local").api_key
            assert asked(demo, "/v1/chat/completions", unknown, chat(SIMULATED))[0] == 401
            told = {
                "metrics": metrics(demo),
                **{
                    " ".join(arguments): printed(system, *arguments)
                    for arguments in (
                        ("top", "--once", "--interval", "0.2"),
                        ("doctor",),
                        ("explain", answered_id),
                        ("explain", failed_id),
                        ("journal", "--account", demo.account_id),
                        ("acts",),
                        ("account", "show", demo.account_id),
                    )
                },
            }
            system.stop()
    told["log"] = system.log
    # Dashboards show what stands in the metrics; their label values are these.
    assert all(
        "deepseek" in told[each] for each in ("metrics", "doctor", "top --once --interval 0.2", f"explain {failed_id}", "log")
    )
    for where, text in told.items():
        assert len(text) > 40, where
        for secret in (demo.api_key, demo.api_key[-38:-6], unknown, demo.admin_token, SECRET, PROMPT):
            assert secret not in text, (where, secret)


def series(demo: Demo) -> set[tuple[str, tuple[tuple[str, str], ...]]]:
    """All series but those of processes."""
    families = text_string_to_metric_families(metrics(demo))
    return {
        (sample.name, tuple(sorted(sample.labels.items())))
        for family in families
        for sample in family.samples
        if not family.name.startswith(("python", "process"))
    }


def test_names_that_clients_make_up_make_no_series(tmp_path: Path) -> None:
    with up(tmp_path) as system:
        demo = system.demo

        def all_kinds(number: int) -> None:
            asked(demo, "/v1/chat/completions", demo.api_key, chat(f"model-{number}"))
            asked(demo, "/v1/chat/completions", new_key("local").api_key, chat(SIMULATED))
            for path in (f"/v1/made-up-{number}", f"/v1/models/model-{number}", f"/v1/me/receipts/{number}", f"/?query={number}"):
                asked(demo, path, demo.api_key)

        all_kinds(0)
        before = series(demo)
        for number in range(1, 30):
            all_kinds(number)
        # Looking at the pages is a request, too.
        assert {each for each in series(demo) - before if "/metrics" not in str(each)} == set()
