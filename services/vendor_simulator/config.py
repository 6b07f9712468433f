"""The configuration of the vendor simulator."""

import msgspec

from services.runtime.telemetry import TelemetryConfig


class VendorSimulatorConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where the vendor simulator listens."""

    host: str = "127.0.0.1"
    # 0: any free port.
    port: int = 8090
    # How long it goes on once it shall stop, and tells clients to close their connections.
    drain_notice_ms: int = 0
    # How long answers under way may take to end when the process stops; 0: clients that wait are hung up on at once.
    drain_timeout_ms: int = 0
    # Whether a line `simulate: {...}` in a request's last message is read as the request's `simulate` object. Clients that
    # cannot send the object, such as agents, can ask for what they need in this way.
    heeds_text: bool = False
    # About as many tokens of the prompts that were read last are kept; what a later prompt repeats from its beginning on counts as
    # cached. 0: each prompt is new.
    prefix_cache_tokens: int = 0
    telemetry: TelemetryConfig = TelemetryConfig()

    def __post_init__(self) -> None:
        if self.drain_timeout_ms and not 1_000 <= self.drain_timeout_ms <= 3_600_000:
            raise ValueError("drain_timeout_ms must be 0, or 1000 to 3600000")
        if not 0 <= self.drain_notice_ms <= 60_000:
            raise ValueError("drain_notice_ms must be 0 to 60000")
        if not 0 <= self.prefix_cache_tokens <= 10_000_000_000:
            raise ValueError("prefix_cache_tokens must be 0 to 10000000000")
