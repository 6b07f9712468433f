"""A service's certificate, its key and the authorities that it trusts: checked, and read anew when their files change.

A certificate names its service as the DNS name `SERVICE.tokenline`, in its subject alternative names. It identifies the holder on
both ends of a connection. Addresses are not compared, because replicas are dialled by those of their pods. An authority signs for
one cell and nothing else, so every holder of its certificates belongs to that cell.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import grpc
import msgspec

from services.runtime.config import ConfigError
from services.runtime.instruments import Gauge, export
from services.runtime.lifecycle import Lifecycle

if TYPE_CHECKING:
    from cryptography import x509

logger = logging.getLogger(__name__)

# Follows a service's name in its certificate.
DOMAIN: Final = "tokenline"
_DAY_S: Final = 86_400
# A certificate that ends this soon should have been replaced.
_WARN_DAYS: Final = 3


class GrpcClientConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Identity for others. An address is "host:port", "unix:/path", or "tls:host:port" for a server that proves its name."""

    # PEM files: this service's certificate with the chain to its authority, its key, and the authorities that are trusted. Each is
    # read again when it changes.
    grpc_certificate_file: str = ""
    grpc_key_file: str = ""
    grpc_ca_file: str = ""

    @property
    def grpc_files(self) -> tuple[str, str, str]:
        """The files of certificate, key and authorities."""
        return (self.grpc_certificate_file, self.grpc_key_file, self.grpc_ca_file)

    def __post_init__(self) -> None:
        if any(self.grpc_files) and not all(self.grpc_files):
            raise ValueError("grpc_certificate_file, grpc_key_file and grpc_ca_file go together")


class GrpcServerConfig(GrpcClientConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Addresses of a service, and their protection."""

    # "host:port" or "unix:/path".
    listen_address: str
    # off: without TLS, for every caller. both: so, and with TLS at grpc_tls_port. required: with TLS only, at grpc_tls_port or,
    # without one, at listen_address. A Unix socket never has TLS: its folder's mode says who may call.
    grpc_tls: Literal["off", "both", "required"] = "off"
    # On the host of listen_address; 0: any.
    grpc_tls_port: int | None = None
    # Port that tells probes the health, without TLS and nothing else; 0: any; left out: none.
    health_port: int | None = None
    # Tells callers the contracts, for tools that ask.
    reflection: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for field in ("grpc_tls_port", "health_port"):
            if not 0 <= (getattr(self, field) or 0) <= 65_535:
                raise ValueError(f"{field} must be 0 to 65535")
        local = self.listen_address.startswith("unix:")
        if self.listen_address.startswith("tls:"):
            raise ValueError("listen_address takes no tls: before it; grpc_tls says who listens with TLS")
        if self.grpc_tls == "both" and (local or self.grpc_tls_port is None):
            raise ValueError("grpc_tls both needs a listen_address of host:port, and grpc_tls_port")
        if self.grpc_tls == "off" and self.grpc_tls_port is not None:
            raise ValueError("grpc_tls_port goes with grpc_tls both or required")
        if self.grpc_tls != "off" and not local and not all(self.grpc_files):
            raise ValueError("grpc_tls needs grpc_certificate_file, grpc_key_file and grpc_ca_file")
        if self.health_port is not None and local:
            raise ValueError("health_port goes with a listen_address of host:port")


class Pems(NamedTuple):
    """The content of the three files."""

    certificate: bytes
    key: bytes
    authorities: bytes


class Certificates:
    """A service's certificate and key, and its trusted authorities. `follow` keeps them up to date."""

    def __init__(self, service: str, config: GrpcClientConfig, look_s: float = 1.0) -> None:
        """`look_s`: the interval of looks at the files. Errors: `ConfigError` that names the file which is of no use, and why."""
        self._look_s = look_s
        self.service = service
        # Certificate, key, authorities.
        self.files = (Path(config.grpc_certificate_file), Path(config.grpc_key_file), Path(config.grpc_ca_file))
        # Noted before the files are read, so that a change meanwhile is read again.
        self._seen = self._state()
        self._warned_s: float = -_DAY_S
        self.current, self._ends = self._read()
        # Set once other certificates have come; another event replaces this one then.
        self.replaced = asyncio.Event()

    @property
    def ends(self) -> datetime:
        """The end of the certificate in force."""
        return self._ends

    async def follow(self) -> None:
        """Looks at the files until it is cancelled. Useless files are logged, and the last good ones stay in force."""
        last = self._seen
        while True:
            self._warn()
            await asyncio.sleep(self._look_s)
            before, last = last, self._state()
            # The files are written one after the other, so that a change may be followed by another.
            if last == self._seen or last != before:
                continue
            self._seen = last
            try:
                self.current, self._ends = self._read()
            except ConfigError as error:
                logger.error("%s; what was read before stays in force", error)
                continue
            self._warned_s = -_DAY_S
            logger.info("the certificate of %s was replaced, by one that ends at %s", self.service, self._ends.isoformat())
            replaced, self.replaced = self.replaced, asyncio.Event()
            replaced.set()

    @property
    def ends_s(self) -> float:
        """The end of the certificate in use, in seconds since 1970."""
        return self._ends.timestamp()

    def _warn(self) -> None:
        """Warns once a day of an end that is near."""
        now_s = time.monotonic()
        if now_s - self._warned_s < _DAY_S:
            return
        if (self._ends - datetime.now(UTC)).total_seconds() < _WARN_DAYS * _DAY_S:
            self._warned_s = now_s
            logger.error("%s ends at %s: replace it, no restart is needed", self.files[0], self._ends.isoformat())

    def _state(self) -> tuple[tuple[int, int, int], ...]:
        states = []
        for file in self.files:
            try:
                stat = file.stat()
                states.append((stat.st_mtime_ns, stat.st_ino, stat.st_size))
            except OSError:
                states.append((0, 0, 0))
        return tuple(states)

    def _read(self) -> tuple[Pems, datetime]:
        pems = Pems(*map(_content, self.files))
        try:
            return pems, _check(pems, self.files, name_of(self.service))
        except ValueError as error:
            # The files pass the checks, but OpenSSL cannot decode them.
            raise ConfigError(f"{self.files[0]}: can't be used: {error}; have a new one signed") from error

    def channel_credentials(self) -> grpc.ChannelCredentials:
        """Credentials of a client, from the present files."""
        return grpc.ssl_channel_credentials(self.current.authorities, self.current.key, self.current.certificate)

    def server_credentials(self, greeted: Callable[[], None]) -> grpc.ServerCredentials:
        """Credentials of a server. Each new connection takes the present files and calls `greeted`. Callers need one too."""
        given = self.current

        def fetch() -> Any:
            # Called by gRPC's own threads.
            nonlocal given
            greeted()
            current = self.current
            if current is given:
                return None
            given = current
            return _server_configuration(current)

        return grpc.dynamic_ssl_server_credentials(_server_configuration(given), fetch, require_client_authentication=True)


@asynccontextmanager
async def certificates_of(service: str, config: GrpcClientConfig, lifecycle: Lifecycle) -> AsyncIterator[Certificates | None]:
    """The certificates of a config, kept up to date; None where it has none. Errors: those of `Certificates`."""
    if not all(config.grpc_files):
        yield None
        return
    certificates = Certificates(service, config)
    description = "End of the certificate in use, in seconds since 1970"
    export(Gauge("certificate.end_timestamp_seconds", description, lambda: {(service,): certificates.ends_s}, ("service",)))
    async with lifecycle.background("certificates", certificates.follow()):
        yield certificates


def name_of(service: str) -> str:
    """The name of a service in its certificate."""
    return f"{service}.{DOMAIN}"


def _server_configuration(pems: Pems) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(pems.key, pems.certificate)], pems.authorities)


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{file}: cannot be read: {error.strerror}; `tokenline certs FOLDER` makes files for development"
        ) from error


def _check(pems: Pems, files: tuple[Path, ...], name: str) -> datetime:
    """The end of the certificate. Errors: `ConfigError`."""
    # Imported here, because it takes a tenth of a second, which processes without TLS need not wait.
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    certificate_file, key_file, authorities_file = files
    try:
        certificate, *between = x509.load_pem_x509_certificates(pems.certificate)
    except ValueError as error:
        raise ConfigError(f"{certificate_file}: is no certificate in PEM; give the service's own, as tls.crt has it") from error
    try:
        authorities = x509.load_pem_x509_certificates(pems.authorities)
    except ValueError as error:
        raise ConfigError(f"{authorities_file}: is no certificate in PEM; give the cell's authority, as ca.crt has it") from error
    try:
        key = load_pem_private_key(pems.key, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"{key_file}: is no private key in PEM without a password; give that of {certificate_file}") from error
    if key.public_key() != certificate.public_key():
        raise ConfigError(f"{key_file}: is the key of another certificate; give that of {certificate_file}")
    names = _names(certificate)
    if name not in names:
        held = ", ".join(names) or "nobody"
        raise ConfigError(f"{certificate_file}: names {held}; it must have {name} among its DNS names")
    now = datetime.now(UTC)
    if not certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc:
        ended = now >= certificate.not_valid_after_utc
        when = certificate.not_valid_after_utc if ended else certificate.not_valid_before_utc
        raise ConfigError(f"{certificate_file}: {'ended' if ended else 'begins'} at {when.isoformat()}; have a new one signed")
    if not _leads_to(certificate, between, authorities):
        raise ConfigError(f"{certificate_file}: no authority of {authorities_file} signed it; give the one that did")
    return certificate.not_valid_after_utc


def _names(certificate: "x509.Certificate") -> list[str]:
    from cryptography import x509

    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return names.get_values_for_type(x509.DNSName)


def _leads_to(certificate: "x509.Certificate", between: "list[x509.Certificate]", authorities: "list[x509.Certificate]") -> bool:
    """Whether one of the authorities signed it, or signed one that did."""
    for _ in range(len(between) + 1):
        if any(_signed(certificate, authority) for authority in authorities):
            return True
        signers = [each for each in between if _signed(certificate, each)]
        if not signers:
            return False
        certificate = signers[0]
    return False


def _signed(certificate: "x509.Certificate", by: "x509.Certificate") -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        certificate.verify_directly_issued_by(by)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
