"""Certificates for tests: those of the command, and ones that it would not make."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from services.cli.certs import write_certificates
from services.runtime.certificates import Certificates, GrpcClientConfig


def made(folder: Path) -> Path:
    """An authority and what it signed, as `tokenline certs` makes them."""
    write_certificates(folder, 30)
    return folder


def files_of(folder: Path, holder: str) -> dict[str, Any]:
    """The fields of a config."""
    return {
        "grpc_certificate_file": str(folder / holder / "tls.crt"),
        "grpc_key_file": str(folder / holder / "tls.key"),
        "grpc_ca_file": str(folder / holder / "ca.crt"),
    }


def certificates(folder: Path, holder: str) -> Certificates:
    return Certificates(holder, GrpcClientConfig(**files_of(folder, holder)))


def pems(folder: Path, *names: str, starts_days: float = -1.0, ends_days: float = 1.0) -> tuple[bytes, bytes, bytes]:
    """Key, certificate and authority in PEM, for these DNS names, signed by the authority in a folder."""
    authority_key = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)
    assert isinstance(authority_key, ec.EllipticCurvePrivateKey)
    authority_pem = (folder / "ca.crt").read_bytes()
    authority = x509.load_pem_x509_certificate(authority_pem)
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "somebody")]))
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=starts_days))
        .not_valid_after(now + timedelta(days=ends_days))
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
    certificate = builder.sign(authority_key, hashes.SHA256())
    key_pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return key_pem, certificate.public_bytes(serialization.Encoding.PEM), authority_pem


def write_pems(folder: Path, holder: str, key: bytes, certificate: bytes) -> None:
    """Puts a certificate in the place of a holder's."""
    (folder / holder / "tls.key").write_bytes(key)
    (folder / holder / "tls.crt").write_bytes(certificate)
