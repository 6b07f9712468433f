"""Bounds bytes that clients make the edge hold, such as request bodies on their way in: in all, and by account."""

from types import TracebackType
from typing import Self

from services.edge.http.problems import bodies_of_account, unavailable


class Bodies:
    """The bounds, and the bytes held now."""

    def __init__(self, bytes_max: int, account_bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._account_bytes_max = account_bytes_max
        self._bytes = 0
        self._by_account: dict[str, int] = {}

    def coming(self, account_id: str) -> "Coming":
        """Bytes of this account, which count within the block that this begins."""
        return Coming(self, account_id)

    def add(self, account_id: str, count: int) -> None:
        """Counts more bytes. Errors: `Problem` 429 when the account holds too many, 503 when all do."""
        of_account = self._by_account.get(account_id, 0) + count
        if of_account > self._account_bytes_max:
            raise bodies_of_account(self._account_bytes_max)
        if self._bytes + count > self._bytes_max:
            raise unavailable("too many large requests are on their way in")
        self._bytes += count
        self._by_account[account_id] = of_account

    def remove(self, account_id: str, count: int) -> None:
        """Counts bytes that are held no longer."""
        self._bytes -= count
        left = self._by_account[account_id] - count
        if left:
            self._by_account[account_id] = left
        else:
            del self._by_account[account_id]


class Coming:
    """Bytes of one account, such as those of a body that is coming."""

    __slots__ = ("_account_id", "_bodies", "_bytes")

    def __init__(self, bodies: Bodies, account_id: str) -> None:
        self._bodies = bodies
        self._account_id = account_id
        self._bytes = 0

    def add(self, count: int) -> None:
        """See `Bodies.add`."""
        self._bodies.add(self._account_id, count)
        self._bytes += count

    def hold(self, count: int) -> None:
        """Counts this many bytes from now on, instead of those before. Errors: those of `Bodies.add`; then nothing has changed."""
        if count > self._bytes:
            self.add(count - self._bytes)
        elif count < self._bytes:
            self._bodies.remove(self._account_id, self._bytes - count)
            self._bytes = count

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if self._bytes:
            self._bodies.remove(self._account_id, self._bytes)
