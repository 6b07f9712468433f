"""Services of a cell as others of it find them: programs that are run in a pod, with the pod's own certificate."""

import json
from typing import Final

from tests.cluster.cell import ClusterCell

# Those that are called.
SERVERS: Final = ("authentication", "registry", "accounting", "billing")


def shown_certificates(cell: ClusterCell) -> dict[str, set[str]]:
    """The SHA-256 of what each pod of a service shows an edge, in hexadecimal."""
    targets = [[service, pod["status"]["podIP"]] for service in SERVERS for pod in cell.pods(service)]
    said = json.loads(cell.exec(cell.names("edge")[0], "python", "-", json.dumps(targets), given=_SHOW))
    return {service: {digest for each, digest in said if each == service} for service in SERVERS}


_SHOW: Final = """
import hashlib, json, socket, ssl, sys
files = "/etc/tokenline/grpc-tls"
terms = ssl.create_default_context(cafile=f"{files}/ca.crt")
terms.load_cert_chain(f"{files}/tls.crt", f"{files}/tls.key")
terms.set_alpn_protocols(["h2"])
said = []
for service, host in json.loads(sys.argv[1]):
    with (
        socket.create_connection((host, 7001), timeout=10) as plain,
        terms.wrap_socket(plain, server_hostname=f"{service}.tokenline") as secure,
    ):
        said.append([service, hashlib.sha256(secure.getpeercert(binary_form=True)).hexdigest()])
print(json.dumps(said))
"""


def ask_accounting(cell: ClusterCell, pod: str, role: str) -> dict[str, str]:
    """How accounting is called from a pod of `role`, which the network lets through -> the call's status, and details."""
    address = cell.pods("accounting")[0]["status"]["podIP"]
    said: dict[str, str] = json.loads(cell.exec(pod, "python", "-", address, role, given=_ASK))
    return said


_ASK: Final = """
import asyncio, json, sys
import grpc
from services.runtime.certificates import Certificates, GrpcClientConfig
from services.runtime.clients import connect
from tokenline.accounting.v1 import accounting_pb2 as pb, accounting_pb2_grpc

host, role = sys.argv[1:]
files = "/etc/tokenline/grpc-tls"
config = GrpcClientConfig(
    grpc_certificate_file=f"{files}/tls.crt", grpc_key_file=f"{files}/tls.key", grpc_ca_file=f"{files}/ca.crt"
)
own = Certificates(role, config)
nobody = grpc.ssl_channel_credentials(own.current.authorities)
options = [("grpc.ssl_target_name_override", "accounting.tokenline")]
listing, grant = ("ListPartitions", pb.ListPartitionsRequest()), ("GrantBucket", pb.GrantBucketRequest(account_id="a"))

async def status(channel, method, request):
    async with channel:
        try:
            await getattr(accounting_pb2_grpc.AccountingServiceStub(channel), method)(request, timeout=5)
        except grpc.aio.AioRpcError as error:
            return error.code().name if error.code() is grpc.StatusCode.UNAVAILABLE else f"{error.code().name}: {error.details()}"
        return "OK"

async def main():
    print(json.dumps({
        "ListPartitions": await status(connect(f"tls:{host}:7001", "accounting", own), *listing),
        "GrantBucket": await status(connect(f"tls:{host}:7001", "accounting", own), *grant),
        "without a certificate": await status(grpc.aio.secure_channel(f"{host}:7001", nobody, options=options), *listing),
        "without TLS": await status(connect(f"{host}:7001"), *listing),
        "at the port without TLS": await status(connect(f"{host}:7000"), *listing),
    }))

asyncio.run(main())
"""
