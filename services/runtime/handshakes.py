"""Explains why a connection with TLS fails, which gRPC tells to no waiting call."""

import asyncio
import ssl
from contextlib import closing
from typing import Final

from services.runtime.certificates import Certificates, name_of

_TRIED_S_MAX: Final = 2.0
_REFUSED: Final = "it refuses our certificate, which has ended or is of an authority that its ca.crt does not have"
_PLAIN: Final = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE"})


async def obstacle(target: str, service: str, certificates: Certificates) -> str:
    """The obstacle that a handshake of our own with "host:port" finds, for people; "" where it finds nothing."""
    host, _, port = target.rpartition(":")
    try:
        terms = _terms(certificates)
        async with asyncio.timeout(_TRIED_S_MAX):
            reader, writer = await asyncio.open_connection(host.strip("[]"), int(port), ssl=terms, server_hostname=name_of(service))
            with closing(writer):
                # Our side is done by now: gRPC's server says something at once, or closes where it refuses our certificate.
                return "" if await reader.read(1) else _REFUSED
    except ssl.SSLCertVerificationError as error:
        return f"its certificate is not that of {name_of(service)} by an authority in our ca.crt: {error.verify_message}"
    except ssl.SSLError as error:
        reason = error.reason or str(error)
        if reason in _PLAIN:
            return "it does not speak TLS there; grpc_tls and grpc_tls_port of the server say where it does"
        return f"the handshake fails: {reason}"
    except ConnectionResetError:
        return _REFUSED
    except TimeoutError:
        return "it does not answer"
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error)


def _terms(certificates: Certificates) -> ssl.SSLContext:
    terms = ssl.create_default_context(cadata=certificates.current.authorities.decode("ascii"))
    certificate, key, _ = certificates.files
    terms.load_cert_chain(certificate, key)
    terms.set_alpn_protocols(["h2"])
    return terms
