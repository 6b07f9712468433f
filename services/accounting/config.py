"""Configuration of an accounting process."""

from typing import Final

from services.runtime.certificates import GrpcServerConfig
from services.runtime.etcd import EtcdConfig, check_prefix
from services.runtime.telemetry import TelemetryConfig

# An address on all interfaces is no address for others.
_EVERYWHERE: Final = ("0.0.0.0:", "[::]:", ":")


class AccountingConfig(GrpcServerConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Configuration of `tokenline serve accounting`."""

    # Address of the registry.
    registry_address: str
    # The SQLite file, made if it is missing: for one process on one machine.
    database: str = ""
    # PostgreSQL instead: a URL without a password (that comes from PGPASSWORD or the passfile). Partitions are spread over several
    # URLs in turn, fixed when they are made.
    postgresql: str | tuple[str, ...] = ""
    # Gives partitions to replicas; left out: this process is the only replica. Goes with postgresql.
    etcd: EtcdConfig | None = None
    # Prefix of the keys of this cell.
    etcd_prefix: str = "/tokenline/accounting/"
    # Address at which other services reach this replica; empty: listen_address, if that is no address of all interfaces.
    advertised_address: str = ""
    # Number of slices of the accounts; fixed when the database is made.
    partitions: int = 16
    # A grant lives this long without an Update; a session is swept after twice this time (Tcc).
    validity_ms: int = 30_000
    # A Create waits at most this long for balance that other sessions hold.
    held_wait_ms: int = 200
    # A changed account is checkpointed at this age, so that the journal's tail stays short.
    checkpoint_age_ms: int = 5_000
    # At most this many accounts are kept as objects; the rest are packed, and above packed_accounts_mib_max left to the database.
    hot_accounts_max: int = 50_000
    packed_accounts_mib_max: int = 384
    telemetry: TelemetryConfig = TelemetryConfig()

    @property
    def is_unreachable(self) -> bool:
        """Whether others are told no address for this replica."""
        return self.etcd is not None and not self.advertised_address and self.listen_address.startswith(_EVERYWHERE)

    @property
    def servers(self) -> tuple[str, ...]:
        """The URLs of the PostgreSQL databases."""
        return (self.postgresql,) if isinstance(self.postgresql, str) and self.postgresql else tuple(self.postgresql)

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(set(self.servers)) < len(self.servers) or not all(self.servers) or len(self.servers) > self.partitions:
            raise ValueError("postgresql must name each database once, and no more of them than partitions")
        if bool(self.database) == bool(self.postgresql):
            raise ValueError("give either database (a SQLite file) or postgresql (a URL)")
        if self.etcd is not None and not self.postgresql:
            raise ValueError("etcd goes with postgresql: replicas share one database")
        check_prefix(self.etcd_prefix)
        if not 1 <= self.partitions <= 4_096:
            raise ValueError("partitions must be 1 to 4096")
        if not 1_000 <= self.validity_ms <= 600_000:
            raise ValueError("validity_ms must be 1000 to 600000")
        if not 0 <= self.held_wait_ms <= 10_000:
            raise ValueError("held_wait_ms must be 0 to 10000")
        if not 100 <= self.checkpoint_age_ms <= 600_000:
            raise ValueError("checkpoint_age_ms must be 100 to 600000")
        if not 1_000 <= self.hot_accounts_max <= 10_000_000:
            raise ValueError("hot_accounts_max must be 1000 to 10000000")
        if not 0 <= self.packed_accounts_mib_max <= 1_000_000:
            raise ValueError("packed_accounts_mib_max must be 0 to 1000000")
