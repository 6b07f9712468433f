"""The configuration of the carrier simulator."""

import msgspec

from services.runtime.telemetry import TelemetryConfig


class CarrierSimulatorConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where the carrier simulator listens, and whom it knows."""

    host: str = "127.0.0.1"
    # 0: any free port.
    port: int = 9091
    # The clients' identifiers, each with the PEM file of its public key: EC P-256 or RSA.
    clients: dict[str, str]
    # The file that payments are kept in from one start to the next; empty: in memory alone.
    state_file: str = ""
    telemetry: TelemetryConfig = TelemetryConfig()
