"""Bounds of a listener's connections: bytes, time and places."""

from typing import Final, NamedTuple

from services.runtime.open_files import raised_open_files

# Files that a process opens for other purposes: databases, other services, logs.
_FILES_RESERVED: Final = 256


class HttpLimits(NamedTuple):
    """Limits of a listener; times in seconds."""

    # Bound of a request's first line and its headers; more is answered with 431.
    head_bytes_max: int = 32 * 1024
    headers_max: int = 100
    # Time from the connection, or the head's first byte, to its last; then 408, or silence where nothing came.
    head_s: float = 10.0
    # Time from the head to the body's last byte; then 408.
    body_s: float = 60.0
    # Time of a connection without a request.
    idle_s: float = 75.0
    # A client that takes nothing of what is sent to it for this long is cut off.
    write_s: float = 30.0
    # The longest answer, from its request's head; then the time it has to come to an end.
    answer_s: float = 3_600.0
    last_words_s: float = 30.0
    # Connections at once; 0: half of the files that the process may open, because a call has another to its vendor.
    connections_max: int = 0
    # Connections from one address, which is /64 in IPv6; 0: half of all.
    connections_per_address_max: int = 0
    # New connections a second of addresses where nobody is known; 0: any number, because between services nobody shows a key.
    strangers_per_second: int = 0

    def for_process(self) -> "HttpLimits":
        """The limits with their zeros computed from the files that this process may open; raises that number as far as allowed."""
        in_all = self.connections_max or max(1, (raised_open_files() - _FILES_RESERVED) // 2)
        return self._replace(
            connections_max=in_all, connections_per_address_max=self.connections_per_address_max or max(1, in_all // 2)
        )
