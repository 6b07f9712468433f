"""Two cells of two regions side by side do not see each other."""

import pytest

from infra.cluster import ClusterError
from tests.cluster.cell import TOOLS, ClusterCell, Tools
from tests.cluster.test_network import addresses, reached


def test_each_region_has_its_own(cell: ClusterCell, other: ClusterCell) -> None:
    cell.upgrade()
    other.upgrade()
    account = cell.tokenline("account", "create")["account_id"]
    key = cell.tokenline("key", "create", "--account", account)["api_key"]
    assert cell.tokenline("account", "show", account)["account_id"] == account
    with pytest.raises(ClusterError, match=account):
        other.tokenline("account", "show", account)
    offered = {each["offering_id"] for each in other.tokenline("offering", "list")["data"]}
    assert "hongkong-starter-5m" in offered and "beijing-campus-20m" not in offered
    said = other.exec("tokenline-edge-0", "python", "-", key, given=_CALL)
    assert said.startswith("401") and "Incorrect API key provided: tl-beij" in said
    assert len(other.tokenline("owners")["data"]) == len(cell.tokenline("owners")["data"]) == 16


_CALL = """
import sys
from urllib.error import HTTPError
from urllib.request import Request, urlopen
try:
    urlopen(Request("http://127.0.0.1:8080/v1/models", headers={"Authorization": f"Bearer {sys.argv[1]}"}), timeout=10)
except HTTPError as error:
    print(error.code, error.read().decode())
"""


def test_neither_reaches_the_other(cell: ClusterCell, other: ClusterCell, tools: Tools) -> None:
    theirs = {name: address for name, address in addresses(other).items() if name not in ("postgresql", "etcd")}
    for service in ("authentication", "registry", "accounting", "billing", "edge"):
        assert reached(cell.namespace, cell.names(service)[0], theirs) == set(), service
    assert reached(TOOLS, "stranger", theirs) == {"edge"}
