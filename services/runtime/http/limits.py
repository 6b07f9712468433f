"""What a listener lets a connection take: bytes, time and places."""

import resource
from typing import Final, NamedTuple

# Open files that are none of clients' connections: databases, other services, logs.
_FILES_RESERVED: Final = 256


class HttpLimits(NamedTuple):
    """Limits of a listener; times in seconds."""

    # A request's first line and its headers; more is answered with 431.
    head_bytes_max: int = 32 * 1024
    headers_max: int = 100
    # From the connection, or the head's first byte, to its last; then 408, or silence where nothing came.
    head_s: float = 10.0
    # From the head to the body's last byte; then 408.
    body_s: float = 60.0
    # A connection without a request.
    idle_s: float = 75.0
    # A client that takes nothing of what is sent to it for this long is cut off.
    write_s: float = 30.0
    # The longest answer, from its request's head; and how long it may then take to come to an end.
    answer_s: float = 3_600.0
    last_words_s: float = 30.0
    # Connections at once; 0: half of the files that the process may open, since a call has another to its vendor.
    connections_max: int = 0
    # Of one address, which is /64 in IPv6; 0: half of all.
    connections_per_address_max: int = 0

    # New connections a second of addresses where nobody is known; 0: any number, as where nobody shows who he is.
    strangers_per_second: int = 0

    def for_process(self) -> "HttpLimits":
        """The limits with their zeros replaced by what this process may open, which is raised to what it may be raised to."""
        in_all = self.connections_max or max(1, (_raised_open_files() - _FILES_RESERVED) // 2)
        return self._replace(
            connections_max=in_all, connections_per_address_max=self.connections_per_address_max or max(1, in_all // 2)
        )


def _raised_open_files() -> int:
    """How many files this process may open, from now on as many as it may allow itself."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard if hard != resource.RLIM_INFINITY else 1_048_576
