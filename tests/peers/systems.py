"""One system under measurement: what every one of them has, the vendor alone, and Tokenline."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol, runtime_checkable

import msgspec

from services.cli.bench_cell import OWN_CHECKOUT, BenchCell
from services.cli.postgresql_server import PostgresqlServer
from services.cli.processes import Processes
from tests.peers.calls import Answer, ask, call, long_body, served

SMALL_PAYS_CALLS: Final = 10
_PLENTY: Final = 1_000_000_000 * 1_000_000
_SETTLED_S_MAX: Final = 10.0
# LiteLLM imports for half a minute on a quiet machine.
_START_S_MAX: Final = 300.0
_POLL_S: Final = 0.05
# A long prompt, and some room.
_CONTEXT_TOKENS_MIN: Final = 4_000
_OUTPUT_TOKENS_MIN: Final = 1_000


class Charged(NamedTuple):
    """What a system charged, of what the vendor made for it."""

    charged: int
    made: int
    unit: str


class Small(NamedTuple):
    """Who can pay for exactly `SMALL_PAYS_CALLS` long calls."""

    api_key: str
    model_id: str


class System(Protocol):
    """A running system."""

    name: str
    # What is on, in words.
    says: str
    # It ends with /v1.
    base_url: str
    vendor_base_url: str
    model_id: str
    api_keys: list[str]
    gateway_pids: list[int]
    # Of its stores.
    database_pids: list[int]

    def charged(self) -> Charged | None:
        """All that it charged so far, once no call is under way; None: it keeps no record."""
        ...

    def small(self) -> Small | None:
        """A new account that pays for few calls; None: it has no quota."""
        ...

    def small_left(self, small: Small) -> float | None:
        """For how many calls its account can still pay; below 0, it owes them. None: it cannot be told."""
        ...


@runtime_checkable
class Killable(System, Protocol):
    """A system whose gateway is one process; `make faults` kills Tokenline's services."""

    def kill(self) -> None:
        """kill -9 of the gateway."""
        ...

    def begin(self) -> None:
        """Begins the gateway, and waits until it answers."""
        ...


class Room(NamedTuple):
    """Where a system starts."""

    # Of servers that it stores in; they outlast the processes.
    stores: ExitStack
    processes: Processes
    folder: Path

    def vendor(self, name: str) -> str:
        """The base URL of a vendor simulator for one system alone."""
        return self.processes.serve("vendor-simulator", f"{name}-vendor", port=0)


def await_answer(url: str, processes: Processes, headers: dict[str, str] | None = None) -> Answer:
    """What a system that starts answers at last. Errors: `TimeoutError`, `CommandError` when it ends instead."""
    deadline_s = time.monotonic() + _START_S_MAX
    while time.monotonic() < deadline_s:
        processes.check()
        try:
            answer = ask("GET", url, headers=headers)
        except OSError:
            time.sleep(_POLL_S)
            continue
        if answer.status == 200:
            return answer
        time.sleep(_POLL_S)
    raise TimeoutError(f"{url} does not answer after {_START_S_MAX:g} s")


class VendorAlone:
    """Nothing between clients and vendor: what load generator and simulator reach by themselves."""

    name = "vendor alone"
    says = "nothing between"
    model_id = "simulated"
    gateway_pids: list[int] = []  # noqa: RUF012  # none, ever
    database_pids: list[int] = []  # noqa: RUF012

    def __init__(self, room: Room) -> None:
        self.base_url = self.vendor_base_url = room.vendor(self.name)
        self.api_keys = ["vendor"]

    def charged(self) -> Charged | None:
        """See `System`."""
        return None

    def small(self) -> Small | None:
        """See `System`."""
        return None

    def small_left(self, small: Small) -> float | None:
        """See `System`."""
        return None


class Tokenline:
    """A cell of this checkout, every service once, with all that it has on: 100 accounts, reservation, durable journal, CDRs."""

    def __init__(self, room: Room, name: str, *, postgresql: bool) -> None:
        self.name = name
        self.says = f"keys, reservation, durable journal and CDRs in {'PostgreSQL' if postgresql else 'SQLite'}"
        self.vendor_base_url = room.vendor(name)
        self.database_pids = []
        new_database: Callable[[], str] | None = None
        if postgresql:
            server = room.stores.enter_context(PostgresqlServer())
            new_database = server.new_database
            self.database_pids = [server.pid]
        self._cell = BenchCell(room.processes, room.folder, self.vendor_base_url, name, OWN_CHECKOUT, new_database=new_database)
        self.base_url = self._cell.base_url
        self.api_keys = self._cell.api_keys
        self.model_id = self._cell.models(_CONTEXT_TOKENS_MIN, _OUTPUT_TOKENS_MIN)[0]
        services = (f"{name}-{each}" for each in ("edge", "accounting", "authentication", "registry", "billing"))
        self.gateway_pids = [room.processes.pids[each] for each in services]
        self._cost = 0

    def charged(self) -> Charged | None:
        """See `System`. Errors: `AssertionError` when audit or reconciliation finds anything."""
        bill = self._cell.bill(None)
        assert not bill.breaches and not bill.differences, bill
        return Charged(bill.cdrs, served(self.vendor_base_url)["calls"], "calls")

    def small(self) -> Small | None:
        """See `System`."""
        asker = self._cell.make_account("asker", _PLENTY)
        answer = call(self.base_url, asker, long_body(self.model_id))
        assert answer.status == 200, answer.body
        self._cost = int(self._settled(asker)["consumed"])
        return Small(self._cell.make_account("small", SMALL_PAYS_CALLS * self._cost), self.model_id)

    def small_left(self, small: Small) -> float | None:
        """See `System`."""
        return int(self._settled(small.api_key)["remaining"]) / self._cost

    def _settled(self, api_key: str) -> dict[str, Any]:
        """The account's bucket, once nothing is reserved."""
        deadline_s = time.monotonic() + _SETTLED_S_MAX
        while True:
            answer = ask("GET", f"{self.base_url}/me/balance", headers={"Authorization": f"Bearer {api_key}"})
            balance = msgspec.json.decode(answer.body)
            (bucket,) = balance["buckets"]
            assert isinstance(bucket, dict)
            assert not balance["debt"], balance
            if not int(bucket["reserved"]):
                return bucket
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"{bucket} is still reserved after {_SETTLED_S_MAX:g} s")
            time.sleep(_POLL_S)
