"""`tokenline certs`: an authority, and a certificate of each service that it signed, for tests and development."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from services.cli.failures import CommandError, expected_errors

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

_DAYS_MAX: Final = 3_650
# Names that a certificate may have: the services, and people with tools of their own.
_HOLDERS: Final = ("authentication", "registry", "accounting", "billing", "edge", "operator")
# Another machine's clock may be late.
_BEFORE: Final = timedelta(minutes=5)


@click.command("certs")
@click.argument("folder", type=click.Path(path_type=Path), metavar="FOLDER")
@click.option(
    "--days", default=90, type=click.IntRange(1, _DAYS_MAX), metavar="N", help="How long certificates are valid. Default: 90."
)
def certs_command(folder: Path, days: int) -> None:
    """Make an authority in FOLDER, and for each service a certificate that it signed.

    FOLDER/SERVICE/ has tls.crt, tls.key and ca.crt, as a Kubernetes Secret has them and as grpc_certificate_file, grpc_key_file and
    grpc_ca_file name them. Done again, it makes new certificates under the same authority, which running services take without a
    restart. operator is for people: it reads.

    FOLDER/ca.key can name anybody: production has an authority of its own, such as cert-manager.
    """
    with expected_errors():
        try:
            made = write_certificates(folder, days)
        except OSError as error:
            raise CommandError(f"{error.filename or folder}: {error.strerror}; choose a folder that you can write") from error
    for service, ends in made.items():
        click.echo(f"{folder / service}: valid until {ends:%Y-%m-%d}")


def write_certificates(folder: Path, days: int) -> dict[str, datetime]:
    """Makes what the command makes; each holder and when its certificate ends.

    Errors: `OSError`; `CommandError` when an authority is there that can't be used.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    folder.mkdir(parents=True, exist_ok=True)
    authority_key, authority = _authority(folder)
    made = {}
    for holder in _HOLDERS:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _certificate(holder, key, authority_key, authority, days)
        (folder / holder).mkdir(mode=0o700, exist_ok=True)
        _write(folder / holder / "ca.crt", authority.public_bytes(serialization.Encoding.PEM))
        _write(folder / holder / "tls.key", _key_pem(key))
        _write(folder / holder / "tls.crt", certificate.public_bytes(serialization.Encoding.PEM))
        made[holder] = certificate.not_valid_after_utc
    return made


def _authority(folder: Path) -> "tuple[ec.EllipticCurvePrivateKey, x509.Certificate]":
    """The one that is there, else a new one."""
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key_file, certificate_file = folder / "ca.key", folder / "ca.crt"
    if key_file.exists() or certificate_file.exists():
        try:
            key = serialization.load_pem_private_key(key_file.read_bytes(), password=None)
            authority = x509.load_pem_x509_certificate(certificate_file.read_bytes())
        except (OSError, ValueError, TypeError) as error:
            said = f"{folder}: its ca.crt and ca.key can't be used: {error}; remove both, or choose a new folder"
            raise CommandError(said) from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != authority.public_key():
            raise CommandError(f"{key_file} is not the key of {certificate_file}; remove both, or choose a new folder")
        return key, authority
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Tokenline, for development")])
    authority = _signed(
        _begun(name, key, _DAYS_MAX)
        .issuer_name(name)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False),
        key,
    )
    _write(key_file, _key_pem(key))
    _write(certificate_file, authority.public_bytes(serialization.Encoding.PEM))
    return key, authority


def _certificate(
    holder: str,
    key: "ec.EllipticCurvePrivateKey",
    authority_key: "ec.EllipticCurvePrivateKey",
    authority: "x509.Certificate",
    days: int,
) -> "x509.Certificate":
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID

    from services.runtime.certificates import name_of

    return _signed(
        _begun(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name_of(holder))]), key, days)
        .issuer_name(authority.subject)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name_of(holder))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        # Each is both ends of connections.
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False),
        authority_key,
    )


def _begun(subject: "x509.Name", key: "ec.EllipticCurvePrivateKey", days: int) -> "x509.CertificateBuilder":
    from cryptography import x509

    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BEFORE)
        .not_valid_after(now + timedelta(days=days))
    )


def _usage(*, signs_certificates: bool) -> "x509.KeyUsage":
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _signed(builder: "x509.CertificateBuilder", key: "ec.EllipticCurvePrivateKey") -> "x509.Certificate":
    from cryptography.hazmat.primitives import hashes

    return builder.sign(key, hashes.SHA256())


def _key_pem(key: "ec.EllipticCurvePrivateKey") -> bytes:
    from cryptography.hazmat.primitives import serialization

    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _write(file: Path, content: bytes) -> None:
    """Puts a file in its place whole, readable by its owner alone."""
    new = file.with_name(f".{file.name}.new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
        out.write(content)
    new.rename(file)
