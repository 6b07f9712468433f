"""Connections from the kernel's queue to their turn: each is accepted at once, its address is looked at, and it is taken later.

Accepting and closing a connection costs less than a transport does, so a storm is refused cheaply, and no client waits in the
kernel for its end. Accepted connections are taken one a round of the loop, of each address in turn; strangers may have a pace too.
"""

import asyncio
import errno
import socket
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Iterator
from ipaddress import IPv6Address
from typing import Final

from services.runtime.http.limits import HttpLimits
from services.runtime.http.pace import Pace

BACKLOG: Final = 4_096
# The kernel's queue is looked at again when others had their turn. More are accepted each time that it was so recently.
_STORM_S: Final = 0.001
_ACCEPTED_AT_ONCE: Final = 64
# Strangers' connections that come before those wait for their pace.
_STRANGERS_AT_ONCE: Final = 64
# A connection without a place for its address is turned away after this time, so that a client that comes again comes less often.
_TURNED_AWAY_S: Final = 1.0
_CLOSED_AT_ONCE: Final = 32
# An address goes before strangers for this long after its last known caller has left, because clients come again. At most this many
# addresses are remembered.
_REMEMBERED_S: Final = 300.0
_REMEMBERED_MAX: Final = 65_536
# Where no file can be opened, the kernel keeps who comes for so long.
_NO_FILES_S: Final = 0.1
_NO_FILES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

Take = Callable[[socket.socket, str], Awaitable[None]]


class Arrivals:
    """The connections that come to a port. `network_of` says what counts as one address."""

    def __init__(self, limits: HttpLimits, taken: Callable[[], int], take: Take, refused: Callable[[str, str], None]) -> None:
        """`taken` says how many connections have a place; `take` gives one a place, or closes it and says `left`.

        `refused` is told a word for the reason, and an example.
        """
        self._loop = asyncio.get_running_loop()
        self._limits = limits
        self._taken = taken
        self._refused = refused
        self._on: socket.socket | None = None
        self._at_once = 1
        self._accepted_s = float("-inf")
        # Connections that wait or have a place, by address.
        self._of_address: dict[str, int] = {}
        self._known: set[str] = set()
        # Addresses whose known callers have left, with the time, in its order.
        self._remembered: dict[str, float] = {}
        self._customers = _Line(take, self.left, None)
        # Customers of an address of which one waits already. Their pace is that of strangers, for whom they do not wait.
        self._crowds = _Line(take, self.left, _pace(limits))
        self._strangers = _Line(take, self.left, _pace(limits))
        # Those that have no place, in places that nobody else needs, and until when.
        self._turned_away: deque[tuple[float, socket.socket]] = deque()
        self._closing: asyncio.Handle | None = None

    def listen(self, on: socket.socket) -> None:
        """Begins to accept."""
        on.listen(BACKLOG)
        self._on = on
        self._loop.add_reader(on, self._accept)

    @property
    def open(self) -> bool:
        """The port is."""
        return self._on is not None

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        return self._customers.count + self._crowds.count + self._strangers.count

    def left(self, address: str) -> None:
        """A connection that was taken is no longer there."""
        self._of_address[address] -= 1
        if not self._of_address[address]:
            del self._of_address[address]

    def know(self, address: str) -> None:
        """Somebody known is connected from there: others of it go before strangers."""
        self._known.add(address)
        self._remembered.pop(address, None)
        for each in self._strangers.without(address):
            self._crowds.add(each, address, is_first=False)

    def forget(self, address: str) -> None:
        """Nobody from there goes before strangers any more."""
        self._known.discard(address)

    def remember(self, address: str) -> None:
        """Nobody known is connected from there any more, but may come again."""
        self.forget(address)
        self._remembered[address] = self._loop.time()
        if len(self._remembered) > _REMEMBERED_MAX:
            del self._remembered[next(iter(self._remembered))]

    def _is_known(self, address: str) -> bool:
        if address in self._known:
            return True
        left_s = self._remembered.get(address)
        return left_s is not None and self._loop.time() - left_s < _REMEMBERED_S

    def _accept(self) -> None:
        on = self._on
        assert on is not None
        now_s = self._loop.time()
        # A connection that comes alone does not cost a look for the next one.
        self._at_once = min(2 * self._at_once, _ACCEPTED_AT_ONCE) if now_s - self._accepted_s < _STORM_S else 1
        self._accepted_s = now_s
        for _ in range(self._at_once):
            try:
                came, peer = on.accept()
            except ConnectionAbortedError:
                continue
            except OSError as error:
                if error.errno in _NO_FILES:
                    self._refused("no_files", "no file can be opened")
                    self._loop.remove_reader(on)
                    self._loop.call_later(_NO_FILES_S, self._accept_again)
                # Else no more wait.
                return
            self._came(came, network_of(str(peer[0])) if isinstance(peer, tuple) else "")

    def _accept_again(self) -> None:
        if self._on is not None:
            self._loop.add_reader(self._on, self._accept)

    def _came(self, came: socket.socket, address: str) -> None:
        limits = self._limits
        held = self._of_address.get(address, 0)
        if held >= limits.connections_per_address_max:
            self._refused("address_full", f"{address} has {held} connections")
            self._turn_away(came)
            return
        line = self._line_of(address)
        in_all = self._taken() + self.waiting
        # Strangers may wait for the places of others, half of them as an address's first.
        may_wait = max(1, limits.connections_max // (8 if held else 4))
        if line is self._strangers and in_all >= limits.connections_max + may_wait:
            self._refused("full", f"there are {in_all} connections")
            came.close()
            return
        if self._turned_away and in_all + len(self._turned_away) >= limits.connections_max:
            self._turned_away.popleft()[1].close()
        self._of_address[address] = held + 1
        line.add(came, address, is_first=not held)

    def _line_of(self, address: str) -> "_Line":
        if not self._is_known(address):
            return self._strangers
        # So a customer who comes now and then need not wait for those of whom many come at once.
        return self._crowds if self._customers.has_of(address) or self._crowds.has_of(address) else self._customers

    # Those without a place

    def _turn_away(self, came: socket.socket) -> None:
        """Ends a connection that has no place: later, where there is room for it meanwhile."""
        if self._taken() + self.waiting + len(self._turned_away) >= self._limits.connections_max:
            came.close()
            return
        if self._closing is None:
            self._closing = self._loop.call_later(_TURNED_AWAY_S, self._close_turned_away)
        self._turned_away.append((self._loop.time() + _TURNED_AWAY_S, came))

    def _close_turned_away(self) -> None:
        self._closing = None
        for _ in range(_CLOSED_AT_ONCE):
            if not self._turned_away:
                return
            left_s = self._turned_away[0][0] - self._loop.time()
            if left_s > 0:
                self._closing = self._loop.call_later(left_s, self._close_turned_away)
                return
            self._turned_away.popleft()[1].close()
        self._closing = self._loop.call_soon(self._close_turned_away)

    # The end

    async def close(self) -> bool:
        """Closes the port and takes all who wait, also in the kernel, as they would be reset; whether there was anybody."""
        on, self._on = self._on, None
        if on is None:
            return False
        self._loop.remove_reader(on)
        for came, peer in _in_kernel(on):
            self._came(came, network_of(str(peer[0])) if isinstance(peer, tuple) else "")
        on.close()
        while self._turned_away:
            self._turned_away.popleft()[1].close()
        last = bool(self.waiting)
        for line in (self._customers, self._crowds, self._strangers):
            await line.take_all()
        return last


class _Line:
    """Connections that wait for their turn, of each address in turn; before them those that are their address's first."""

    def __init__(self, take: Take, left: Callable[[str], None], pace: Pace | None) -> None:
        self._take = take
        self._left = left
        self._pace = pace
        self._first: deque[tuple[socket.socket, str]] = deque()
        self._others: dict[str, deque[socket.socket]] = {}
        # How many of each address wait.
        self._of: Counter[str] = Counter()
        self._taking: asyncio.Task[None] | None = None
        self.count = 0

    def add(self, came: socket.socket, address: str, *, is_first: bool) -> None:
        """It is taken in its turn."""
        if is_first:
            self._first.append((came, address))
        else:
            self._others.setdefault(address, deque()).append(came)
        self.count += 1
        self._of[address] += 1
        if self._taking is None or self._taking.done():
            self._taking = asyncio.create_task(self._take_in_turn(), name="arrivals")

    def has_of(self, address: str) -> bool:
        """Whether others of the address wait."""
        return address in self._of

    def without(self, address: str) -> Iterable[socket.socket]:
        """Takes those of an address out which are not its first."""
        sockets = self._others.pop(address, ())
        for _ in sockets:
            self._leave(address)
        return sockets

    def _leave(self, address: str) -> None:
        self.count -= 1
        self._of[address] -= 1
        if not self._of[address]:
            del self._of[address]

    async def take_all(self) -> None:
        """Takes all at once."""
        while self.count:
            await self._take_next()

    async def _take_in_turn(self) -> None:
        while self.count:
            if self._pace is not None and (wait_s := self._pace.take_s(asyncio.get_running_loop().time())):
                await asyncio.sleep(wait_s)
                self._drop_gone()
            if self.count:
                await self._take_next()

    def _drop_gone(self) -> None:
        """Drops the next connections that have left meanwhile, so that they take no turn; at most 32 at once."""
        for _ in range(_CLOSED_AT_ONCE):
            if not self.count:
                return
            came = self._first[0][0] if self._first else next(iter(self._others.values()))[0]
            if not _is_gone(came):
                return
            came, address = self._next()
            came.close()
            self._left(address)

    async def _take_next(self) -> None:
        await self._take(*self._next())

    def _next(self) -> tuple[socket.socket, str]:
        if self._first:
            came, address = self._first.popleft()
            self._leave(address)
            return came, address
        address, sockets = next(iter(self._others.items()))
        del self._others[address]
        came = sockets.popleft()
        if sockets:
            self._others[address] = sockets
        self._leave(address)
        return came, address


def _pace(limits: HttpLimits) -> Pace | None:
    return Pace(limits.strangers_per_second, _STRANGERS_AT_ONCE) if limits.strangers_per_second else None


def _is_gone(came: socket.socket) -> bool:
    """The client has reset the connection, or closed it without a word."""
    try:
        return not came.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True


def _in_kernel(on: socket.socket) -> Iterator[tuple[socket.socket, object]]:
    """Accepts the connections that wait there; somebody may connect faster than this goes."""
    for _ in range(BACKLOG):
        try:
            yield on.accept()
        except ConnectionAbortedError:
            continue
        except OSError:
            # No more wait, or no file can be opened.
            return


def network_of(address: str) -> str:
    """The unit that counts as one address: one of IPv4, or the 64 bits that a provider gives to one subscriber of IPv6."""
    if ":" not in address:
        return address
    parsed = IPv6Address(address.partition("%")[0])
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return f"{IPv6Address(int(parsed) >> 64 << 64)}/64"
