"""Services that know one another, in the mode that a cell was brought to under load: who is refused, though the network lets it."""

import pytest

from infra.cluster import ClusterError
from tests.cluster.cell import TOOLS, ClusterCell, Tools
from tests.cluster.peers import SERVERS, ask_accounting
from tests.cluster.test_network import reached

_REFUSED = {"without a certificate": "UNAVAILABLE", "without TLS": "UNAVAILABLE", "at the port without TLS": "UNAVAILABLE"}


def test_a_service_does_for_another_what_its_role_allows(cell: ClusterCell) -> None:
    assert ask_accounting(cell, "tokenline-billing-0", "billing") == {
        **_REFUSED,
        "ListPartitions": "OK",
        "GrantBucket": "PERMISSION_DENIED: billing.tokenline may not call /tokenline.accounting.v1.AccountingService/GrantBucket",
    }
    # Accounting itself says what is wrong with the grant.
    from_edge = ask_accounting(cell, "tokenline-edge-0", "edge")
    assert from_edge.pop("GrantBucket").startswith("INVALID_ARGUMENT: ")
    assert from_edge == {**_REFUSED, "ListPartitions": "OK"}


def test_a_stranger_reaches_no_port_of_them(cell: ClusterCell, tools: Tools) -> None:
    pods = [(service, cell.pods(service)[0]["status"]["podIP"]) for service in SERVERS]
    targets = {f"{service}:{port}": f"{address}:{port}" for service, address in pods for port in (7000, 7001, 7002)}
    assert reached(TOOLS, "stranger", targets) == set()


@pytest.mark.parametrize("asked", [["grpcTls.mode=off"], ["grpcTls.mode=both"]])
def test_the_way_back_leaves_out_no_step(cell: ClusterCell, asked: list[str]) -> None:
    with pytest.raises(
        ClusterError, match=r"grpcTls.mode: it is required in the cluster.*: upgrade to both with grpcTls.clients first"
    ):
        cell.upgrade(*asked)
