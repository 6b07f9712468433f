"""new-api and one-api: gateways of one family, on PostgreSQL and Redis as their compose files run them."""

import asyncio
import time
from typing import Any, Final

import asyncpg
import msgspec

from services.cli.postgresql_server import PostgresqlServer
from services.cli.processes import free_ports
from tests.peers.calls import ask, call, long_body, served
from tests.peers.install import NEW_API, GoPeer, go_program, python_environment, redis_server
from tests.peers.systems import SMALL_PAYS_CALLS, Charged, Room, Small, await_answer

_ACCOUNTS: Final = 100
_MODEL: Final = "simulated"
_ROOT_TOKEN: Final = "bench".ljust(32, "0")
# Far above what either trusts without a reservation, and within new-api's 32 bits.
_PLENTY: Final = 1_000_000_000
# PostgreSQL takes 100 connections as it comes, and refuses more; their own limit is 1,000.
_CONNECTIONS: Final = 80
# As long as batches are kept; and what an answered call may take to be charged.
_BATCH_S: Final = 5
_CHARGED_S_MAX: Final = 60.0
_UNDER_WAY_S: Final = 1.5
_OPENAI: Final = 1


class OneApi:
    """A running new-api or one-api: 100 users with a token each, one channel to the vendor, a price of one quota a token."""

    def __init__(self, room: Room, peer: GoPeer, name: str, *, batched: bool) -> None:
        """`batched`: charges are kept in memory for 5 s (`BATCH_UPDATE_ENABLED`). Errors: `PeerMissing`."""
        self._program = str(go_program(peer))
        self.name = name
        self.says = f"{peer.version}, keys, quota, log in PostgreSQL; Redis; charges {'every 5 s' if batched else 'with each call'}"
        self.vendor_base_url = room.vendor(name)
        self.model_id = _MODEL
        self._peer = peer
        self._batched = batched
        self._processes = room.processes
        self._folder = room.folder / name
        self._folder.mkdir()
        server = room.stores.enter_context(PostgresqlServer())
        self._database = server.new_database()
        # Quota of all wallets, the price of a long call, and tokens that the vendor made for nobody's account.
        self._granted = self._cost = self._asked = 0
        port, redis_port = free_ports(2)
        self._address = f"http://127.0.0.1:{port}"
        self.base_url = f"{self._address}/v1"
        # Nothing of Redis is kept on disk.
        redis = (str(redis_server()), "--port", str(redis_port), "--save", "", "--appendonly", "no")
        self.database_pids = [server.pid, room.processes.run(f"{name}-redis", *redis, folder=self._folder, environment={})]
        self._environment = self._environment_of(port, redis_port)
        self.begin()
        self._set_up()
        self.api_keys = [self._make_account(f"bench{number}", _PLENTY) for number in range(_ACCOUNTS)]
        # It begins anew with what was set up, as it runs from day to day.
        self._processes.end(name)
        self.begin()

    def _environment_of(self, port: int, redis_port: int) -> dict[str, str]:
        (vocabularies,) = python_environment("litellm").glob("lib/python*/site-packages/litellm/litellm_core_utils/tokenizers")
        return {
            "PORT": str(port),
            "SQL_DSN": self._database.replace("postgresql://", "postgres://"),
            "SQL_MAX_OPEN_CONNS": str(_CONNECTIONS),
            "SQL_MAX_IDLE_CONNS": str(_CONNECTIONS),
            "REDIS_CONN_STRING": f"redis://127.0.0.1:{redis_port}",
            # Without it neither uses Redis.
            "SYNC_FREQUENCY": "60",
            "MEMORY_CACHE_ENABLED": "true",
            "BATCH_UPDATE_ENABLED": "true" if self._batched else "false",
            "BATCH_UPDATE_INTERVAL": str(_BATCH_S),
            "SESSION_SECRET": "bench",
            # For the set-up of one-api; new-api has no such thing.
            "INITIAL_ROOT_ACCESS_TOKEN": _ROOT_TOKEN,
            # one-api would fetch OpenAI's vocabularies; LiteLLM's package has them under the same names.
            "TIKTOKEN_CACHE_DIR": str(vocabularies),
            "HOME": str(self._folder),
            "PATH": "/usr/bin:/bin",
        }

    def _set_up(self) -> None:
        if self._peer is NEW_API:
            word = "bench-bench"
            setup = {"username": "root", "password": word, "confirmPassword": word, "SelfUseModeEnabled": False}
            self._admin("POST", f"{self._address}/api/setup", setup)
            self._sql(f"UPDATE users SET access_token = '{_ROOT_TOKEN}' WHERE username = 'root'")
        prices = {"ModelRatio": {_MODEL: 1}, "CompletionRatio": {_MODEL: 1}}
        for key, value in prices.items():
            self._admin("PUT", f"{self._address}/api/option/", {"key": key, "value": msgspec.json.encode(value).decode()})
        vendor = self.vendor_base_url.removesuffix("/v1")
        channel = {
            "name": "vendor",
            "type": _OPENAI,
            "key": "vendor",
            "base_url": vendor,
            "models": _MODEL,
            "group": "default",
            "groups": ["default"],
        }
        self._admin(
            "POST", f"{self._address}/api/channel/", {"mode": "single", "channel": channel} if self._peer is NEW_API else channel
        )

    def _admin(self, method: str, url: str, body: dict[str, Any]) -> None:
        headers = {"Authorization": _ROOT_TOKEN, "New-Api-User": "1"}
        answer = ask(method, url, msgspec.json.encode(body).decode(), headers)
        if answer.status != 200 or not msgspec.json.decode(answer.body)["success"]:
            raise RuntimeError(f"{self.name}: {method} {url} answered {answer.status}: {answer.body.decode(errors='replace')}")

    def _make_account(self, name: str, quota: int) -> str:
        """The API key of a new user. Either would have each user sign in for one, at most 20 times in 20 minutes."""
        user_id = self._sql(
            "INSERT INTO users (username, password, display_name, role, status, quota, used_quota, request_count, aff_code,"
            " access_token) VALUES ($1::text, 'none', $1, 1, 1, $2, 0, 0, $1, $3) RETURNING id",
            *(name, quota, name.ljust(32, "-")),
        )
        key = name.ljust(48, "x")
        self._sql(
            "INSERT INTO tokens (user_id, key, status, name, created_time, accessed_time, expired_time, remain_quota,"
            " unlimited_quota, used_quota) VALUES ($1, $2, 1, 'bench', 0, 0, -1, $3, false, 0)",
            *(user_id, key, quota),
        )
        self._granted += quota
        return f"sk-{key}"

    def _sql(self, statement: str, *values: object) -> Any:
        """The first value of the first row."""

        async def fetch() -> Any:
            connection = await asyncpg.connect(self._database)
            try:
                return await connection.fetchval(statement, *values)
            finally:
                await connection.close()

        return asyncio.run(fetch())

    def _steady(self, statement: str, *values: object) -> int:
        """A figure once batches were written, and what is under way no longer changes it."""
        deadline_s = time.monotonic() + _CHARGED_S_MAX
        time.sleep(_BATCH_S * self._batched)
        figure = int(self._sql(statement, *values))
        while time.monotonic() < deadline_s:
            time.sleep(_UNDER_WAY_S)
            before, figure = figure, int(self._sql(statement, *values))
            if figure == before:
                break
        return figure

    def charged(self) -> Charged | None:
        """See `System`: what is gone from all wallets; a token costs one quota."""
        left = self._steady("SELECT sum(quota)::bigint FROM users WHERE password = 'none'")
        return Charged(self._granted - left, served(self.vendor_base_url)["tokens"] - self._asked, "tokens")

    def small(self) -> Small | None:
        """See `System`."""
        self._cost = call(self.vendor_base_url, "vendor", long_body(_MODEL)).tokens
        self._asked += self._cost
        return Small(self._make_account("small", SMALL_PAYS_CALLS * self._cost), _MODEL)

    def begin(self) -> None:
        """See `Killable`."""
        self.gateway_pids = [self._processes.run(self.name, self._program, folder=self._folder, environment=self._environment)]
        await_answer(f"{self._address}/api/status", self._processes)

    def kill(self) -> None:
        """See `Killable`."""
        self._processes.kill(self.name)

    def small_left(self, small: Small) -> float | None:
        """See `System`."""
        return self._steady("SELECT quota::bigint FROM users WHERE username = 'small'") / self._cost
