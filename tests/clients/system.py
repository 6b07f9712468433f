"""`tokenline up` with a vendor beside it, a relay before it, and accounts to try clients with."""

import json
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec
import yaml

from tests.cli.processes import Up, in_time, run, started, tokenline, up
from tests.clients.recorder import Exchange, Recorder, recording

# Micro-units.
TOKEN: Final = 1_000_000
# What the simulator says where nothing else is asked for: 16 tokens, and the beginning of any longer text.
SAID: Final = "the net can now pay for any one new use and get out ask you all"
_VENDORS: Final = ("ANTHROPIC", "DEEPSEEK", "ALIBABA", "OPENAI", "GOOGLE")
# By dialect, a model whose first route leads to a vendor that nobody reaches.
LOST_FIRST: Final = {"chat": "gpt-4.1-mini", "responses": "gpt-4.1-mini", "messages": "claude-haiku-4-5-20251001"}
_BASE_CATALOG: Final = Path(__file__).parents[2] / "services" / "registry" / "base_catalog"
# Methods of calls, in requests of their own or on a WebSocket.
_CALLS: Final = ("POST", "SEND")
# Any is good.
_VENDOR_KEY: Final = "vendor-secret"


class Account(msgspec.Struct, frozen=True):
    """An account of its own for one client."""

    account_id: str
    key_id: str
    api_key: str
    # TOKEN.
    granted: int


class Bill(msgspec.Struct, frozen=True):
    """What the system and the vendor say of an account's calls."""

    # Those that were answered, in the order of their answers.
    receipts: list[Any]
    # The journal's facts of sessions that were settled.
    settled: list[Any]
    # TOKEN.
    consumed: int
    # By the vendor: calls, input_tokens, output_tokens.
    served: dict[str, int]


class Place(Protocol):
    """Where clients call."""

    @property
    def root(self) -> str:
        """The base URL of clients that add /v1 by themselves."""
        ...

    @property
    def base_url(self) -> str:
        """The base URL of all other clients."""
        ...


class System:
    """The running system."""

    def __init__(self, running: Up, recorder: Recorder, vendor_url: str) -> None:
        self._data_dir = str(running.data_dir)
        self._recorder = recorder
        self._vendor_url = vendor_url
        self._number = 0
        self._served_before = self._served()

    @property
    def root(self) -> str:
        """The base URL of clients that add /v1 by themselves."""
        return self._recorder.url

    @property
    def base_url(self) -> str:
        """The base URL of all other clients."""
        return f"{self._recorder.url}/v1"

    def open_account(self, tokens: int) -> Account:
        """An account with so many TOKEN and a key. What other accounts did is forgotten."""
        self._number += 1
        account_id = self.ask("account", "create")["account_id"]
        amount = ("--amount", str(tokens), "--unit", "TOKEN", "--valid-days", "30")
        self.ask("account", "topup", account_id, *amount, "--idempotency-key", f"grant-{self._number}")
        key = self.ask("key", "create", "--account", account_id)
        self._recorder.take()
        self._served_before = self._served()
        return Account(account_id, key["key_id"], key["api_key"], tokens)

    def mint(self, account: Account, tokens: int) -> Account:
        """The account by a key with a budget of so many TOKEN, minted by a key of it that may mint."""
        minting = self.ask("key", "create", "--account", account.account_id, "--scope", "keys:mint")["api_key"]
        budget = {"budget": [{"amount": tokens * TOKEN, "unit": "TOKEN"}]}
        minted = self._get(msgspec.structs.replace(account, api_key=minting), "me/keys", budget)
        self._recorder.take()
        return msgspec.structs.replace(account, key_id=minted["key_id"], api_key=minted["api_key"])

    def spent(self, account: Account) -> Any:
        """What a minted key's own run says: budget with what is used and held of it, calls."""
        return self._get(account, "me/keys")["own"]

    def revoke(self, account: Account) -> None:
        """Revokes its key, in force within a second."""
        self.ask("key", "revoke", account.key_id)
        time.sleep(1)

    def exchanges(self) -> list[Exchange]:
        """The calls since the account was opened or this was asked."""
        return [exchange for exchange in self._recorder.take() if exchange.method in _CALLS]

    def peek(self) -> list[Exchange]:
        """The same, which are there for the next who asks."""
        return [exchange for exchange in self._recorder.exchanges if exchange.method in _CALLS]

    def peek_all(self) -> list[Exchange]:
        """All requests since then, of whatever method."""
        return list(self._recorder.exchanges)

    def bill(self, account: Account, exchanges: list[Exchange]) -> Bill:
        """What the calls in `exchanges`, all that the account made, did cost."""
        answered = [exchange.charging_id for exchange in exchanges if exchange.status == 200]
        receipts = [self._get(account, f"me/receipts/{charging_id}") for charging_id in answered]
        facts = self._journal(account)
        balance = self._get(account, "me/balance")
        assert balance["debt"] == []
        (bucket,) = balance["buckets"]
        assert bucket["reserved"] == 0
        assert bucket["remaining"] + bucket["consumed"] == bucket["granted"] == account.granted * TOKEN
        served = self._served()
        return Bill(
            receipts=receipts,
            settled=[fact for fact in facts if fact["fact"] == "session_settled"],
            consumed=bucket["consumed"] // TOKEN,
            served={name: served[name] - self._served_before.get(name, 0) for name in served},
        )

    def held_for_input(self, account: Account) -> int:
        """What the account's only call held for its input, in TOKEN."""
        (created,) = (fact for fact in self._journal(account) if fact["fact"] == "session_created")
        held = sum(int(hold["amount"]) for hold in created["hold"]) // TOKEN
        return held - int(created["output_tokens_granted"])

    def ask(self, *arguments: str) -> Any:
        """What a command of the command line answers."""
        result = run(*arguments, "--data-dir", self._data_dir, "--output", "json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    def _journal(self, account: Account) -> list[Any]:
        printed = tokenline("journal", "--account", account.account_id, "--data-dir", self._data_dir, "--output", "json")
        return [json.loads(line) for line in printed.stdout.splitlines()]

    def _get(self, account: Account, path: str, body: Any = None) -> Any:
        """The answer to a GET, or to the POST of a body."""
        headers = {"Authorization": f"Bearer {account.api_key}", "Content-Type": "application/json"}
        data = None if body is None else msgspec.json.encode(body)
        request = urllib.request.Request(f"{self.base_url}/{path}", data, headers)
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.load(response)

    def _served(self) -> dict[str, int]:
        with urllib.request.urlopen(f"{self._vendor_url}/simulator/served", timeout=30) as response:
            by_key = json.load(response)["by_key"]
        return dict(by_key.get(_VENDOR_KEY, {}))


@contextmanager
def running_system(folder: Path) -> Iterator[System]:
    """Runs all of it over a folder. At the end the books must balance, and nothing runs on."""
    config = folder / "vendor.yaml"
    config.write_text("port: 0\nheeds_text: true\n")
    with ExitStack() as stack:
        vendor = stack.enter_context(started("serve", "vendor-simulator", "--config", str(config)))
        assert vendor.stdout is not None
        with in_time(vendor):
            vendor_url = vendor.stdout.readline().rpartition(" ")[2].strip()
        assert vendor_url.startswith("http://"), vendor.communicate()[1]
        environment = {f"TOKENLINE_{name}_BASE_URL": vendor_url for name in _VENDORS}
        environment |= {f"TOKENLINE_{name}_API_KEY": _VENDOR_KEY for name in (*_VENDORS, "LOST")}
        (folder / "data" / "catalog").mkdir(parents=True)
        (folder / "data" / "catalog" / "lost.yaml").write_text(yaml.safe_dump(_lost_first()))
        running = stack.enter_context(up(folder / "data", **environment))
        recorder = stack.enter_context(recording(running.demo.base_url.removesuffix("/v1")))
        system = System(running, recorder, vendor_url)
        yield system
        assert system.ask("audit")["breaches"] == []
        assert system.ask("reconcile")["differences"] == []
        assert running.stop() == 0


def _lost_first() -> dict[str, Any]:
    """A catalog layer by which the models of `LOST_FIRST` have a route before their own to a vendor that nobody reaches."""
    models = [
        model
        for path in sorted((_BASE_CATALOG / "models").glob("*.yaml"))
        for model in yaml.safe_load(path.read_text(encoding="utf-8"))["models"]
    ]
    dialects = ("openai_chat", "openai_responses", "anthropic_messages")
    vendor = {
        "vendor_id": "lost",
        "display_name": "Lost",
        "base_url": "http://127.0.0.1:9/v1",
        "api_key_env": "TOKENLINE_LOST_API_KEY",
        "base_url_env": "TOKENLINE_LOST_BASE_URL",
        "endpoints": {dialect: {} for dialect in dialects},
    }
    chosen = [model for model in models if model["model_id"] in LOST_FIRST.values()]
    for model in chosen:
        for route in model["routes"]:
            route["priority"] = route.get("priority", 0) + 1
        model["routes"].insert(0, {"vendor_id": "lost", "vendor_model_id": model["model_id"], "priority": 0})
    return {"vendors": [vendor], "models": chosen}
