"""The configuration of a billing process."""

from services.billing.carrier.config import CarrierConfig
from services.runtime.certificates import GrpcServerConfig
from services.runtime.telemetry import TelemetryConfig


class BillingConfig(GrpcServerConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Configuration of `tokenline serve billing`."""

    # Cursors, file rows and the receipt index.
    # The SQLite file, made if it is missing: for one process on one machine.
    database: str = ""
    # The PostgreSQL database in its place, as a URL without a password (that comes from PGPASSWORD or the passfile).
    postgresql: str = ""
    # Where CDR files and their manifests go; made if it is missing.
    cdr_folder: str
    # Where accounting listens.
    accounting_address: str
    # How often the journal is looked at for entries to export: about the longest that a CDR waits for its file.
    export_interval_ms: int = 10_000
    # The operator's carrier billing, which the phone bill is handed on to; left out: nobody is told.
    carrier: CarrierConfig | None = None
    telemetry: TelemetryConfig = TelemetryConfig()

    def __post_init__(self) -> None:
        super().__post_init__()
        if bool(self.database) == bool(self.postgresql):
            raise ValueError("give either database (a SQLite file) or postgresql (a URL)")
        if not 10 <= self.export_interval_ms <= 3_600_000:
            raise ValueError("export_interval_ms must be 10 to 3600000")
