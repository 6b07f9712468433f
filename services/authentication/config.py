"""The configuration of the authentication service."""

import re

from services.runtime.certificates import GrpcServerConfig
from services.runtime.telemetry import TelemetryConfig


class AuthenticationConfig(GrpcServerConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Configuration of `tokenline serve authentication`."""

    # The SQLite file, made if it is missing: for one process on one machine.
    database: str = ""
    # The PostgreSQL database in its place, as a URL without a password (that comes from PGPASSWORD or the passfile).
    postgresql: str = ""
    # The file with the cell's hash key: at least 32 random bytes. Losing it loses all keys, and who had what is sold once.
    hash_key_file: str
    # The home region in every key issued here: 1 to 16 lower-case letters and digits.
    region: str = "local"
    telemetry: TelemetryConfig = TelemetryConfig()

    def __post_init__(self) -> None:
        super().__post_init__()
        if bool(self.database) == bool(self.postgresql):
            raise ValueError("give either database (a SQLite file) or postgresql (a URL)")
        if re.fullmatch(r"[a-z0-9]{1,16}", self.region) is None:
            raise ValueError("region must be 1 to 16 lower-case letters and digits")
