"""An agent gives its sub-agents keys with parts of its budget: what they may do, what it ends, and what their statement says."""

import asyncio
import gzip
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import aiohttp
import msgspec
import pytest
import pytest_asyncio

from tests.edge.system import Reply
from tests.journeys.subscriber import TOKEN, Subscriber, World, chat, eventually
from tests.journeys.world import PATIENT_MS, running_world

pytestmark = pytest.mark.asyncio(loop_scope="module")

# Far more than is made before a key is revoked.
LONG = {"output_tokens": 5_000, "tokens_per_second": 100}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with running_world(tmp_path_factory.mktemp("runs"), vendor_timeout_ms=PATIENT_MS) as running:
        yield running


class Agent:
    """The holder of a key."""

    def __init__(self, world: World, api_key: str, key_id: str = "") -> None:
        self.world = world
        self.api_key = api_key
        self.key_id = key_id

    @classmethod
    async def of(cls, world: World, name: str, tokens: int = 100_000) -> "Agent":
        """The holder of an issued key that may mint, on an account of its own."""
        subscriber = await world.subscriber(name, tokens)
        issued = await world.services.admin("POST", f"/accounts/{subscriber.account_id}/keys", {"scopes": ["keys:mint"]})
        assert issued.status == 201, issued.body
        assert issued.json["scopes"] == ["keys:mint"]
        return cls(world, issued.json["api_key"], issued.json["key_id"])

    async def ask(self, method: str, path: str, body: Any = None) -> Reply:
        return await self.world.services.call(method, path, self.api_key, body)

    async def minting(self, tokens: int, **fields: Any) -> Reply:
        """The answer to POST /v1/me/keys."""
        return await self.ask("POST", "/v1/me/keys", {"budget": [{"amount": tokens * TOKEN, "unit": "TOKEN"}], **fields})

    async def mint(self, tokens: int, *, mints: bool = False, **fields: Any) -> "Agent":
        """The holder of a key that this one mints."""
        minted = await self.minting(tokens, scopes=["keys:mint"] if mints else [], **fields)
        assert minted.status == 201, minted.body
        assert minted.json["parent_key_id"] == self.key_id
        return Agent(self.world, minted.json["api_key"], minted.json["key_id"])

    async def call(self, **fields: Any) -> Reply:
        return await self.ask("POST", "/v1/chat/completions", chat(**fields))

    def begin(self, *, label: str = "", **fields: Any) -> Any:
        """A streamed call, whose response the test reads."""
        headers = {"authorization": f"Bearer {self.api_key}", **({"x-tokenline-run": label} if label else {})}
        url = f"{self.world.services.base_url}/chat/completions"
        return self.world.http.post(url, json=chat(stream=True, **fields), headers=headers)

    async def runs(self) -> dict[str, Any]:
        """The statement: a line for each key below this one."""
        listed = await self.ask("GET", "/v1/me/keys")
        assert listed.status == 200, listed.body
        assert (listed.json["object"], listed.json["amounts_in"]) == ("list", "micro_units")
        return {run["key_id"]: run for run in listed.json["data"]}

    async def own(self) -> Any:
        """The key's own line."""
        return (await self.ask("GET", "/v1/me/keys")).json["own"]

    async def spent(self) -> dict[str, tuple[int, int]]:
        """Used tokens and calls of each key below this one."""
        return {key_id: (run["budget"][0]["used"] // TOKEN, run["calls"]) for key_id, run in (await self.runs()).items()}


async def test_a_sub_agents_use_counts_in_every_budget_above_it(world: World) -> None:
    root = await Agent.of(world, "counts")
    agent = await root.mint(1_000, mints=True)
    search = await agent.mint(200, models=["small"], parallel_calls=2, valid_seconds=600)
    write = await agent.mint(1_000)
    assert (await search.call(max_tokens=50, simulate={"output_tokens": 50})).status == 200
    assert await root.spent() == {agent.key_id: (60, 1), search.key_id: (60, 1), write.key_id: (0, 0)}
    assert set(await agent.runs()) == {search.key_id, write.key_id}
    assert await search.runs() == {}
    assert (await root.own(), await search.own()) == (None, (await root.runs())[search.key_id])
    calls = 1
    while (await write.call(max_tokens=200, simulate={"output_tokens": 200})).status == 200:
        calls += 1
    # What is left of the agent's is too little, though its children have more of their own.
    used = 60 + 210 * (calls - 1)
    assert 600 < used <= 1_000
    assert await root.spent() == {agent.key_id: (used, calls), search.key_id: (60, 1), write.key_id: (used - 60, calls - 1)}
    refused = await write.call(max_tokens=200)
    assert (refused.status, refused.json["error"]["code"]) == (402, "insufficient_quota")
    left = f"The limit budget-TOKEN@key:{agent.key_id} leaves {1_000 - used} TOKEN, less than this request needs."
    assert refused.json["error"]["message"] == left
    assert (await root.call(max_tokens=50)).status == 200
    line = (await root.runs())[search.key_id]
    budget = {"unit": "TOKEN", "currency": None, "amount": 200 * TOKEN, "used": 60 * TOKEN, "held": 0}
    assert line | {"created_at": "", "ends_at": ""} == {
        **{"key_id": search.key_id, "parent_key_id": agent.key_id, "budget": [budget], "models": ["small"], "parallel_calls": 2},
        **{"calls": 1, "created_at": "", "ends_at": ""},
    }


async def test_a_call_ends_with_its_runs_budget(world: World) -> None:
    agent = await (await Agent.of(world, "ends")).mint(300, mints=True)
    child = await agent.mint(300)
    async with child.begin(max_tokens=1_000, simulate={"output_tokens": 1_000, "tokens_per_second": 2_000}) as response:
        body = (await response.read()).decode()
    assert '"finish_reason":"length"' in body
    used, calls = (await agent.spent())[child.key_id]
    assert calls == 1
    assert 100 < used <= 300
    while (await child.call(simulate={"output_tokens": 60})).status == 200:
        pass
    assert 200 < (await agent.spent())[child.key_id][0] <= 300


async def _read(response: aiohttp.ClientResponse) -> float:
    """Reads a stream to its end, which must tell of the revocation; returns when that came."""
    body = await response.content.read()
    assert b"The API key was revoked while this answer was under way." in body
    return time.monotonic()


async def test_revoking_a_key_ends_the_calls_of_all_below_it_within_a_second(world: World) -> None:
    root = await Agent.of(world, "revoked")
    agent = await root.mint(50_000, mints=True)
    below = [agent]
    for _ in range(3):
        below.append(await below[-1].mint(50_000, mints=True))
    other = await root.mint(50_000)
    async with (
        below[0].begin(max_tokens=9_000, simulate=LONG) as one,
        below[3].begin(max_tokens=9_000, simulate=LONG) as two,
        other.begin(max_tokens=60, simulate={"output_tokens": 60, "tokens_per_second": 60}) as going_on,
    ):
        assert [each.status for each in (one, two, going_on)] == [200] * 3
        for each in (one, two, going_on):
            await each.content.readany()
        began = time.monotonic()
        gone = await root.ask("DELETE", f"/v1/me/keys/{agent.key_id}")
        assert (gone.status, gone.json["key_id"]) == (200, agent.key_id)
        ends = await asyncio.gather(_read(one), _read(two))
        assert max(ends) - began < 1.0
        assert b'"finish_reason":"stop"' in await going_on.content.read()
    for each in below:
        assert (await each.call(max_tokens=1)).status == 401
        assert (await each.ask("GET", "/v1/me/balance")).status == 401
    # What they made is charged, once in each of the keys above.
    await eventually(lambda: _settled(root, agent.key_id, 2))
    spent = await root.spent()
    assert spent[agent.key_id][0] == spent[below[1].key_id][0] + _own(spent, below)
    assert spent[below[1].key_id] == spent[below[2].key_id] == spent[below[3].key_id]
    ended = {run["ends_at"] for key_id, run in (await root.runs()).items() if key_id != other.key_id}
    (end,) = ended
    assert datetime.fromisoformat(end) <= datetime.now(UTC)
    assert (await root.ask("DELETE", f"/v1/me/keys/{agent.key_id}")).json == gone.json


def _own(spent: dict[str, tuple[int, int]], below: list[Agent]) -> int:
    """What the first key charged by itself."""
    whole, part = spent[below[0].key_id], spent[below[1].key_id]
    assert (whole[1], part[1]) == (2, 1)
    assert 0 < part[0] < whole[0]
    return whole[0] - part[0]


async def _settled(agent: Agent, key_id: str, calls: int) -> bool:
    return (await agent.spent())[key_id][1] == calls


async def test_the_operator_revokes_an_issued_key_with_all_below_it(world: World) -> None:
    root = await Agent.of(world, "operator")
    child = await root.mint(100)
    account_id = (await root.ask("GET", "/v1/me/balance")).json["account_id"]
    keys = {key["key_id"]: key for key in (await world.services.admin("GET", f"/accounts/{account_id}/keys")).json["data"]}
    assert (keys[root.key_id]["scopes"], keys[root.key_id]["parent_key_id"], keys[root.key_id]["ends_at"]) == (
        ["keys:mint"],
        None,
        None,
    )
    assert (keys[child.key_id]["scopes"], keys[child.key_id]["parent_key_id"]) == ([], root.key_id)
    assert keys[child.key_id]["ends_at"] is not None
    assert (await world.services.admin("DELETE", f"/keys/{root.key_id}")).status == 200
    assert (await child.call(max_tokens=1)).status == 401
    journal = (await world.services.admin("GET", f"/journal?account_id={account_id}")).json["data"]
    (ended,) = [entry for entry in journal if entry["fact"] == "runs_ended"]
    assert (ended["key_id"], ended["actor"]["subject"]) == (root.key_id, "administrator")


async def test_a_life_ends_calls_and_keys(world: World) -> None:
    root = await Agent.of(world, "life")
    agent = await root.mint(50_000, mints=True, valid_seconds=2)
    child = await agent.mint(50_000)
    async with child.begin(max_tokens=9_000, simulate=LONG) as response:
        body = await response.content.read()
    assert b'"code":"key_ended"' in body
    for each in (agent, child):
        for ended in (await each.call(max_tokens=1), await each.ask("GET", "/v1/me/balance"), await each.minting(1)):
            assert (ended.status, ended.json["error"]["code"]) == (403, "key_ended")
        assert ended.json["error"]["message"] == f"The time of key:{each.key_id} has ended."


async def test_a_minted_key_is_shown_and_sold_its_own_models_alone(world: World) -> None:
    root = await Agent.of(world, "models")
    agent = await root.mint(5_000, mints=True, models=["small"])
    child = await agent.mint(5_000)
    shown = {model["id"] for model in (await root.ask("GET", "/v1/models")).json["data"]}
    assert shown > {"small", "pair"}
    for each in (agent, child):
        assert [model["id"] for model in (await each.ask("GET", "/v1/models")).json["data"]] == ["small"]
        assert [(await each.ask("GET", f"/v1/models/{name}")).status for name in ("small", "pair")] == [200, 404]
        refused = await each.ask("POST", "/v1/chat/completions", {**chat(), "model": "pair"})
        assert (refused.status, refused.json["error"]["code"]) == (404, "model_not_found")
        assert (await each.call(max_tokens=1)).status == 200


async def test_a_key_without_the_scope_mints_nothing(world: World) -> None:
    root = await Agent.of(world, "scope")
    child = await root.mint(10)
    for refused in (await child.minting(1), await Agent(world, (await world.subscriber("no-scope")).api_key).minting(1)):
        assert (refused.status, refused.json["error"]["code"]) == (403, "scope_missing")
        assert "lacks the scope keys:mint" in refused.json["error"]["message"]


async def test_what_is_wider_than_the_parents_is_named_with_its_bound(world: World) -> None:
    agent = await (await Agent.of(world, "wider")).mint(100, mints=True, valid_seconds=600, models=["small"], parallel_calls=2)
    money = [{"amount": 1, "unit": "CURRENCY", "currency": "CNY"}]
    for fields, param, said in (
        ({"budget": [{"amount": 101 * TOKEN, "unit": "TOKEN"}]}, "budget", "give at most 100000000"),
        ({"budget": money}, "budget", "budget: the key that mints has none in CNY; give it in TOKEN."),
        ({"valid_seconds": 601}, "valid_seconds", "give at most that, or leave it out to live as long."),
        ({"models": ["pair"]}, "models", "models: the key that mints may not use 'pair'; it may use small."),
        ({"parallel_calls": 3}, "parallel_calls", "parallel_calls: the key that mints may have 2; give at most that."),
    ):
        refused = await agent.minting(1, **fields)
        assert (refused.status, refused.json["error"]["param"]) == (400, param), refused.body
        assert said in refused.json["error"]["message"]
    assert await agent.runs() == {}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"budget": []}, "budget"),
        ({"budget": [{"amount": 0, "unit": "TOKEN"}]}, "budget"),
        ({"budget": [{"amount": 1, "unit": "TOKEN", "more": 1}]}, "budget"),
        ({"budget": [{"unit": "TOKEN"}]}, "budget"),
        ({"budget": [{"amount": 1, "unit": "TOKEN", "currency": "CNY"}]}, "currency"),
        ({"budget": [{"amount": 1, "unit": "CURRENCY"}]}, "currency"),
        ({"budget": [{"amount": 1, "unit": "TOKEN"}] * 2}, "budget"),
        ({"valid_seconds": 0}, "valid_seconds"),
        ({"valid_seconds": 2_592_001}, "valid_seconds"),
        ({"models": ["small", "small"]}, "models"),
        ({"models": [""]}, "models"),
        ({"parallel_calls": 0}, "parallel_calls"),
        ({"scopes": ["everything"]}, "scopes"),
        ({"idempotency_key": ""}, "idempotency_key"),
        ({"limit": 1}, "limit"),
    ],
)
async def test_a_wrong_field_is_named(world: World, fields: dict[str, Any], param: str) -> None:
    root = await Agent.of(world, f"wrong-{fields}"[:150])
    refused = await root.minting(1, **fields)
    assert (refused.status, refused.json["error"]["param"]) == (400, param), refused.body


async def test_a_budget_is_not_left_out(world: World) -> None:
    root = await Agent.of(world, "no-budget")
    refused = await root.ask("POST", "/v1/me/keys", {})
    assert (refused.status, refused.json["error"]["param"]) == (400, "budget")


async def test_a_repeat_mints_no_second_key(world: World) -> None:
    root = await Agent.of(world, "repeat")
    child = await root.mint(10, idempotency_key="search")
    for tokens, code in ((10, "already_exists"), (11, "idempotency_conflict")):
        refused = await root.minting(tokens, idempotency_key="search")
        assert (refused.status, refused.json["error"]["code"]) == (409, code)
    assert set(await root.runs()) == {child.key_id}
    # The same words of another key are another key.
    other = await root.mint(10, mints=True)
    assert (await other.mint(10, idempotency_key="search")).key_id != child.key_id


async def test_at_most_four_levels(world: World) -> None:
    agent = await Agent.of(world, "levels")
    for _ in range(4):
        agent = await agent.mint(10, mints=True)
    refused = await agent.minting(10)
    assert (refused.status, refused.json["error"]["code"]) == (409, "not_possible")
    assert "4 levels below an issued key" in refused.json["error"]["message"]


async def test_only_keys_below_are_revoked(world: World) -> None:
    root, stranger = await Agent.of(world, "mine"), await Agent.of(world, "yours")
    child = await root.mint(1_000, mints=True)
    grandchild = await child.mint(1_000)
    for agent, key_id in ((stranger, child.key_id), (child, root.key_id), (child, child.key_id), (grandchild, child.key_id)):
        refused = await agent.ask("DELETE", f"/v1/me/keys/{key_id}")
        assert (refused.status, refused.json["error"]["code"]) == (404, "key_not_found")
    assert (await grandchild.call(max_tokens=1)).status == 200
    assert (await root.ask("DELETE", f"/v1/me/keys/{grandchild.key_id}")).status == 200
    assert (await grandchild.call(max_tokens=1)).status == 401
    assert (await child.call(max_tokens=1)).status == 200


# Labels


async def test_a_label_stands_in_receipt_and_cdr_and_changes_nothing(world: World) -> None:
    subscriber = await world.subscriber("label")
    agent = Agent(world, subscriber.api_key)
    label = "nightly/2026-11-30#1" + "x" * 44
    charging_ids = []
    for each in (label, ""):
        async with agent.begin(label=each, max_tokens=20) as response:
            assert response.status == 200
            await response.read()
            charging_ids.append(response.headers["x-request-id"])
    with_label, without = [await subscriber.receipt(each) for each in charging_ids]
    assert (with_label["run_label"], without["run_label"]) == (label, None)
    assert with_label["charged_amount"] == without["charged_amount"]
    await eventually(lambda: _is_exported(world, charging_ids[1]))
    cdrs = {cdr.get("charging_id"): cdr for cdr in _cdrs(world)}
    assert (cdrs[charging_ids[0]]["run_label"], "run_label" in cdrs[charging_ids[1]]) == (label, False)
    # From the index too, and as the journal has it.
    assert (await subscriber.receipt(charging_ids[0]))["run_label"] == label
    assert (await world.services.admin("POST", "/reconcile", {})).json["differences"] == []
    assert (await world.services.admin("POST", "/audit", {})).json["breaches"] == []


def _cdrs(world: World) -> list[dict[str, Any]]:
    return [
        msgspec.json.decode(line)
        for file in sorted((world.services.folder / "cdrs").glob("*.jsonl.gz"))
        for line in gzip.decompress(file.read_bytes()).splitlines()
    ]


async def _is_exported(world: World, charging_id: str) -> bool:
    return charging_id in {cdr.get("charging_id") for cdr in _cdrs(world)}


@pytest.mark.parametrize("label", ["x" * 65, "two words", "caf\xe9"])
async def test_a_label_of_another_form_is_refused(world: World, label: str) -> None:
    subscriber: Subscriber = await world.subscriber(f"label-{len(label)}")
    async with Agent(world, subscriber.api_key).begin(label=label) as response:
        assert response.status == 400
        error = msgspec.json.decode(await response.read())["error"]
    assert (error["param"], error["message"]) == ("x-tokenline-run", "x-tokenline-run must have 1 to 64 visible ASCII characters.")
    assert await subscriber.consumed() == 0
