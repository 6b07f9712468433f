"""Files of certificates that are of no use: each is named, with what to do."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from services.runtime.certificates import GrpcClientConfig, GrpcServerConfig
from services.runtime.clients import connect
from services.runtime.config import ConfigError, parse_yaml
from tests.trust.authority import certificates, files_of, made, pems, write_pems


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    return made(tmp_path / "certs")


def _of_another(folder: Path, edge: Path) -> None:
    (edge / "tls.key").write_bytes((folder / "billing" / "tls.key").read_bytes())


def _of_another_authority(folder: Path, edge: Path) -> None:
    (edge / "ca.crt").write_bytes((made(folder / "other") / "ca.crt").read_bytes())


def _for(*names: str, **terms: Any) -> Callable[[Path, Path], None]:
    def write(folder: Path, edge: Path) -> None:
        key, certificate, _ = pems(folder, *names, **terms)
        write_pems(folder, "edge", key, certificate)

    return write


_CASES: Final[dict[str, tuple[Callable[[Path, Path], Any], str]]] = {
    "no certificate": (lambda _, edge: (edge / "tls.crt").unlink(), r"tls\.crt: cannot be read: No such file or directory; `tok"),
    "no key": (lambda _, edge: (edge / "tls.key").unlink(), r"tls\.key: cannot be read: No such file"),
    "no authority": (lambda _, edge: (edge / "ca.crt").unlink(), r"ca\.crt: cannot be read: No such file"),
    "certificate not PEM": (
        lambda _, edge: (edge / "tls.crt").write_text("x"),
        r"tls\.crt: is no certificate in PEM; give the serv",
    ),
    "key not PEM": (
        lambda _, edge: (edge / "tls.key").write_text("x"),
        r"tls\.key: is no private key in PEM without a password; give",
    ),
    "authority not PEM": (
        lambda _, edge: (edge / "ca.crt").write_text("x"),
        r"ca\.crt: is no certificate in PEM; give the cell's auth",
    ),
    "key of another": (_of_another, r"tls\.key: is the key of another certificate; give that of .*tls\.crt"),
    "of another authority": (_of_another_authority, r"tls\.crt: no authority of .*ca\.crt signed it; give the one that did"),
    "of another service": (_for("billing.tokenline"), r"tls\.crt: names billing\.tokenline; it must have edge\.tokenline among"),
    "of nobody": (_for(), r"tls\.crt: names nobody; it must have edge\.tokenline among its DNS names"),
    "names that nobody can read": (
        _for(garbled=True),
        r"tls\.crt: can't be used: error parsing asn1 value: .*; have a new one signed",
    ),
    "ended": (_for("edge.tokenline", starts_days=-2, ends_days=-1), r"tls\.crt: ended at 20.*; have a new one signed"),
    "not begun": (_for("edge.tokenline", starts_days=1, ends_days=2), r"tls\.crt: begins at 20.*; have a new one signed"),
}


@pytest.mark.parametrize("case", _CASES)
def test_a_file_that_is_of_no_use_is_named(authority: Path, case: str) -> None:
    spoil, said = _CASES[case]
    spoil(authority, authority / "edge")
    with pytest.raises(ConfigError, match=f"^{authority}/edge/{said}"):
        certificates(authority, "edge")


def test_a_certificate_may_have_other_names_too_and_an_authority_between(authority: Path) -> None:
    key, certificate, _ = pems(authority, "edge.tokenline", "tokenline-edge.cell.svc")
    write_pems(authority, "edge", key, certificate)
    certificates(authority, "edge")
    # The authority of before stays trusted while its certificates are replaced.
    other = made(authority / "other")
    for file in (authority / "edge" / "ca.crt", other / "edge" / "ca.crt"):
        file.write_bytes((other / "ca.crt").read_bytes() + (authority / "ca.crt").read_bytes())
    certificates(authority, "edge")
    certificates(other, "edge")


def test_a_chain_leads_to_an_authority_that_is_trusted(authority: Path) -> None:
    between = authority / "between"
    between.mkdir()
    key, signed, _ = pems(authority)
    (between / "ca.key").write_bytes(key)
    (between / "ca.crt").write_bytes(signed)
    key, own, _ = pems(between, "edge.tokenline")
    write_pems(authority, "edge", key, own + signed)
    certificates(authority, "edge")
    with pytest.raises(ConfigError, match=r"no authority of .* signed it"):
        write_pems(authority, "edge", key, own)
        certificates(authority, "edge")
    write_pems(authority, "edge", key, own + signed)
    (authority / "edge" / "ca.crt").write_bytes((made(authority / "other") / "ca.crt").read_bytes())
    with pytest.raises(ConfigError, match=r"no authority of .* signed it"):
        certificates(authority, "edge")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"grpc_tls": "on"}, "grpc_tls: must be 'both' or 'off' or 'required'; it is 'on'"),
        ({"grpc_tls": "required"}, "grpc_tls needs grpc_certificate_file, grpc_key_file and grpc_ca_file"),
        ({"grpc_tls": "both"}, "grpc_tls both needs a listen_address of host:port, and grpc_tls_port"),
        (
            {"grpc_tls": "both", "grpc_tls_port": 7001, "listen_address": "unix:/s"},
            "grpc_tls both needs a listen_address of host:port, and grpc_tls_port",
        ),
        ({"grpc_tls_port": 7001}, "grpc_tls_port goes with grpc_tls both or required"),
        ({"grpc_tls": "both", "grpc_tls_port": 70_000}, "grpc_tls_port must be 0 to 65535"),
        ({"health_port": -1}, "health_port must be 0 to 65535"),
        ({"listen_address": "tls:127.0.0.1:7000"}, "listen_address takes no tls: before it; grpc_tls says who listens with TLS"),
        ({"listen_address": "unix:/s", "health_port": 7002}, "health_port goes with a listen_address of host:port"),
        ({"grpc_ca_file": "ca.crt"}, "grpc_certificate_file, grpc_key_file and grpc_ca_file go together"),
    ],
)
def test_a_config_that_does_not_fit_together_says_what_would(fields: dict[str, Any], said: str) -> None:
    text = msgspec.json.encode({"listen_address": "127.0.0.1:7000", **fields}).decode()
    with pytest.raises(ConfigError, match=said):
        parse_yaml(text, GrpcServerConfig, "registry.yaml")


def test_off_and_on_are_words_in_a_config(authority: Path) -> None:
    assert parse_yaml("listen_address: a:1\ngrpc_tls: off\nreflection: true", GrpcServerConfig, "x").grpc_tls == "off"
    with pytest.raises(ConfigError, match="x:2: reflection: must be true or false; it is '"):
        parse_yaml("listen_address: a:1\nreflection: on", GrpcServerConfig, "x")


def test_tls_to_another_service_needs_certificates(authority: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"^tls:127\.0\.0\.1:7001 is reached with TLS; give grpc_certificate_file, grpc_key_file and"
    ):
        connect("tls:127.0.0.1:7001", "accounting")
    assert GrpcClientConfig(**files_of(authority, "edge")).grpc_files[1].endswith("edge/tls.key")
