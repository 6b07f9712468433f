"""What a billing process needs to know."""

import msgspec

from services.runtime.telemetry import TelemetryConfig


class BillingConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Configuration of `tokenline serve billing`."""

    # "host:port" or "unix:/path".
    listen_address: str
    # The SQLite file with cursors, file rows and the receipt index; made if it is missing.
    database: str
    # Where CDR files and their manifests go; made if it is missing.
    cdr_folder: str
    # Where accounting listens.
    accounting_address: str
    # How often the journal is looked at for entries to export, and so about the longest that a CDR waits for its file.
    export_interval_ms: int = 10_000
    telemetry: TelemetryConfig = TelemetryConfig()

    def __post_init__(self) -> None:
        if not 10 <= self.export_interval_ms <= 3_600_000:
            raise ValueError("export_interval_ms must be 10 to 3600000")
