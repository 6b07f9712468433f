"""The configuration of a registry process."""

from typing import Annotated

import msgspec

from services.runtime.certificates import GrpcServerConfig
from services.runtime.etcd import EtcdConfig, check_prefix
from services.runtime.telemetry import TelemetryConfig


class RegistryConfig(GrpcServerConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Configuration of `tokenline serve registry`."""

    # Folders of *.yaml files, the base first; a later folder adds entries or replaces those of the same ID, vendors field by field.
    catalog_folders: Annotated[list[str], msgspec.Meta(min_length=1)]
    # The etcd where layers over the folders are published, for all registries of a cell; left out: none.
    etcd: EtcdConfig | None = None
    # Begin of these layers' keys.
    etcd_prefix: str = "/tokenline/catalog/"
    # How often the folders are looked at for a change.
    poll_interval_ms: Annotated[int, msgspec.Meta(ge=1)] = 250
    # Logs, traces and metrics.
    telemetry: TelemetryConfig = TelemetryConfig()

    def __post_init__(self) -> None:
        super().__post_init__()
        check_prefix(self.etcd_prefix)
