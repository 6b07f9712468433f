"""Configuration of an edge process."""

import re
from typing import Final

from services.runtime.certificates import GrpcClientConfig
from services.runtime.http.limits import HttpLimits
from services.runtime.telemetry import TelemetryConfig

# New connections of addresses where nobody with a key is connected: each costs some 0.1 ms, with what it sends first.
STRANGERS_PER_SECOND: Final = 1_000


# An origin as browsers write it: in lower case, without the scheme's own port.
_ORIGIN: Final = re.compile(r"[a-z][a-z0-9+.-]*://[^\s/?#@,;\\A-Z*]+")
_OWN_PORTS: Final = {"http": ":80", "https": ":443"}


def _is_origin(text: str) -> bool:
    scheme = text.partition("://")[0]
    return _ORIGIN.fullmatch(text) is not None and not text.endswith(_OWN_PORTS.get(scheme, "/"))


class EdgeConfig(GrpcClientConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Configuration of `tokenline serve edge`. Addresses are "host:port", "unix:/path" or "tls:host:port"."""

    # Address for clients; port 0: any.
    host: str = "127.0.0.1"
    port: int = 8080
    # Address for operators: /v1/admin, /metrics, /healthz and /readyz, which clients must not reach.
    admin_host: str = "127.0.0.1"
    admin_port: int = 8081
    # Addresses of the other services.
    registry_address: str
    authentication_address: str
    accounting_address: str
    billing_address: str
    # A file whose content, without surrounding white space, opens the administrative API.
    admin_token_file: str
    # Serves every vendor that has no secret here, for example "http://127.0.0.1:8090/v1"; empty: such vendors are left out.
    simulator_base_url: str = ""
    # A folder with a file for each secret and address of a vendor, named as the catalog names them (api_key_env, base_url_env).
    # They count before the environment, and are read again when they change; empty: the environment alone.
    vendor_secrets_folder: str = ""
    # Larger request bodies are refused.
    body_bytes_max: int = 20_000_000
    # At most this many bytes of request bodies on their way in are held at once, in all and of one account; 0: ten times
    # body_bytes_max, and twice.
    bodies_bytes_max: int = 0
    account_bodies_bytes_max: int = 0
    # Time for a client to send its request's head, from the first byte, and then its body.
    head_timeout_ms: int = 10_000
    body_timeout_ms: int = 60_000
    # A client's connection may be without a request for this long.
    connection_idle_timeout_ms: int = 75_000
    # A client that takes none of the sent bytes for this long counts as gone.
    write_timeout_ms: int = 30_000
    # The longest answer; then it ends with an error, and the sent part is charged.
    answer_timeout_ms: int = 3_600_000
    # Clients' connections at once; 0: half of the files that the process may open, because a call has another to its vendor.
    connections_max: int = 0
    # Connections from one address, which is /64 in IPv6; 0: half of all. All clients of a proxy have the proxy's address.
    address_connections_max: int = 0
    # Origins whose pages may call from a browser, such as "https://app.example.com"; "*" alone: all. By default none may, because a
    # page shows its key to whoever opens it.
    cors_origins: tuple[str, ...] = ()
    # Connecting to a vendor may take this long.
    connect_timeout_ms: int = 5_000
    # A vendor may take this long from the request to its first byte; models think for minutes.
    first_byte_timeout_ms: int = 300_000
    # A vendor may fall silent within an answer for this long.
    idle_timeout_ms: int = 120_000
    # A call is sent to at most this many routes, one after another, until one answers.
    attempts_max: int = 4
    # Once the first of them has failed, others are begun for this long.
    retry_budget_ms: int = 60_000
    # At most this many edges serve the cell. Each keeps that share of what a vendor's contract allows the cell a minute.
    edges_max: int = 1
    # A stream to a client that is idle this long gets a comment, so that nothing on the way closes it.
    heartbeat_interval_ms: int = 15_000
    # Accounting may take this long to reserve before the call is refused.
    create_timeout_ms: int = 5_000
    # Accounting may take this long to settle while the end of the answer is held back.
    release_timeout_ms: int = 10_000
    # The SQLite file for Releases that accounting does not answer, made if it is missing; empty: they stay in memory alone.
    outbox: str = ""
    # A Release without an answer for this long goes there, and the answer's end is held back no longer.
    outbox_after_ms: int = 3_000
    # At most this many Releases fit; about 1 KB each.
    outbox_releases_max: int = 1_000_000
    # Cached API keys pass for this long after the last word from authentication's revocation stream.
    cached_key_grace_ms: int = 60_000
    # Once it shall stop, the edge takes calls for this long, and tells clients to close their connections. Load balancers must
    # notice within this time.
    drain_notice_ms: int = 0
    # After that, requests under way may take this long to end when the process stops.
    drain_timeout_ms: int = 30_000
    # Logs a line for each request that was served.
    access_log: bool = False
    # Logs, traces and metrics.
    telemetry: TelemetryConfig = TelemetryConfig()

    def __post_init__(self) -> None:
        super().__post_init__()
        for field in ("port", "admin_port"):
            if not 0 <= getattr(self, field) <= 65_535:
                raise ValueError(f"{field} must be 0 to 65535")
        if self.simulator_base_url and not self.simulator_base_url.startswith(("http://", "https://")):
            raise ValueError("simulator_base_url must begin with http:// or https://, or be empty")
        if not 1_024 <= self.body_bytes_max <= 1_000_000_000:
            raise ValueError("body_bytes_max must be 1024 to 1000000000")
        for field in (
            "head_timeout_ms",
            "body_timeout_ms",
            "connection_idle_timeout_ms",
            "write_timeout_ms",
            "connect_timeout_ms",
            "first_byte_timeout_ms",
            "idle_timeout_ms",
            "heartbeat_interval_ms",
            "create_timeout_ms",
            "release_timeout_ms",
            "outbox_after_ms",
            "outbox_releases_max",
        ):
            if not 1 <= getattr(self, field) <= 3_600_000:
                raise ValueError(f"{field} must be 1 to 3600000")
        for field, least, most in (
            ("attempts_max", 1, 100),
            ("edges_max", 1, 10_000),
            ("retry_budget_ms", 0, 3_600_000),
            ("answer_timeout_ms", 1, 86_400_000),
            ("cached_key_grace_ms", 0, 86_400_000),
            ("drain_notice_ms", 0, 60_000),
            ("drain_timeout_ms", 1_000, 3_600_000),
        ):
            if not least <= getattr(self, field) <= most:
                raise ValueError(f"{field} must be {least} to {most}")
        for field in ("bodies_bytes_max", "account_bodies_bytes_max"):
            if getattr(self, field) and getattr(self, field) < self.body_bytes_max:
                raise ValueError(f"{field} must be 0, or at least body_bytes_max, which is {self.body_bytes_max}")
        for origin in self.cors_origins:
            if not _is_origin(origin) and self.cors_origins != ("*",):
                raise ValueError(
                    'cors_origins must be origins like "https://app.example.com" or "http://localhost:3000", in lower case, '
                    f'without a path or the usual port, or "*" alone; {origin!r} is none'
                )
        for field in ("connections_max", "address_connections_max"):
            if not 0 <= getattr(self, field) <= 1_000_000:
                raise ValueError(f"{field} must be 0 to 1000000")

    @property
    def http_limits(self) -> HttpLimits:
        """Limits of the listener for clients."""
        return HttpLimits(
            head_s=self.head_timeout_ms / 1_000,
            body_s=self.body_timeout_ms / 1_000,
            idle_s=self.connection_idle_timeout_ms / 1_000,
            write_s=self.write_timeout_ms / 1_000,
            answer_s=self.answer_timeout_ms / 1_000,
            connections_max=self.connections_max,
            connections_per_address_max=self.address_connections_max,
            strangers_per_second=STRANGERS_PER_SECOND,
        )
