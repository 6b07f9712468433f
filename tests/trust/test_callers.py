"""The table of callers: that it is whole, what it says, and that servers do as it says."""

from pathlib import Path
from typing import Any, Final

import grpc
import pytest

from services.callers import CALLERS
from services.runtime.clients import connect
from tests.trust.authority import certificates, made, pems
from tests.trust.cell import secure_cell, status_of
from tests.waiting import WAIT_S
from tokenline.accounting.v1 import accounting_pb2
from tokenline.authentication.v1 import authentication_pb2
from tokenline.billing.v1 import billing_pb2
from tokenline.registry.v1 import registry_pb2

METHODS: Final = {
    f"/{service.full_name}/{method.name}": method
    for contract in (accounting_pb2, authentication_pb2, billing_pb2, registry_pb2)
    for service in contract.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
_HOLDERS: Final = ("authentication", "registry", "accounting", "billing", "edge", "operator")
_ACCOUNTING: Final = "/tokenline.accounting.v1.AccountingService/"


def test_each_rpc_of_the_contracts_stands_in_the_table_and_nothing_else_does() -> None:
    assert set(CALLERS) == set(METHODS)
    assert set().union(*CALLERS.values()) == {"accounting", "billing", "edge", "operator"}
    assert all(CALLERS.values())


def test_each_role_may_call_what_it_asks_for_and_no_more() -> None:
    may = {role: {method for method, roles in CALLERS.items() if role in roles} for role in _HOLDERS}
    assert may["registry"] == may["authentication"] == set()
    exports = {"GetSessionRecords", "ListPartitions", "ReadJournal"}
    pays_by_phone_bill = {"GetAccount", "ConfirmPayment", "CancelOrder"}
    assert may["billing"] == {f"{_ACCOUNTING}{name}" for name in exports | pays_by_phone_bill}
    reads = {"GetAccount", "ListPartitions", "ReadJournal", "Audit", "ListCursors", "GetCatalog"}
    assert {method.rpartition("/")[2] for method in may["operator"]} == reads
    # The edge has the whole administrative API. A replica of accounting passes on to another what can be asked of any of them.
    others = {"GetSessionRecords", "ReceiveTransfer", "GetCatalog"}
    assert {method.rpartition("/")[2] for method in METHODS.keys() - may["edge"]} == others
    assert {method for method in may["accounting"] if _ACCOUNTING not in method} == {
        "/tokenline.registry.v1.RegistryService/WatchCatalog"
    }
    of_each = {"Charge", "WatchOwners", "ListPartitions", "MovePartition", "ReadJournal", "Audit"}
    assert {each for each in METHODS.keys() - may["accounting"] if _ACCOUNTING in each} == {_ACCOUNTING + name for name in of_each}
    assert [roles for method, roles in CALLERS.items() if method.endswith("/Charge")] == [{"edge"}]
    assert [roles for method, roles in CALLERS.items() if method.endswith("/ReceiveTransfer")] == [{"accounting"}]


def test_the_edge_says_in_whose_name_and_accounting_passes_it_on() -> None:
    naming = {name for name, method in METHODS.items() if "actor" in method.input_type.fields_by_name}
    assert len(naming) == 16
    # Billing's own name, for orders that the phone bill pays.
    of_billing = {f"{_ACCOUNTING}{name}" for name in ("ConfirmPayment", "CancelOrder")}
    assert {CALLERS[name] - {"billing"} for name in naming} == {frozenset({"edge", "accounting"})}
    assert {name for name in naming if "billing" in CALLERS[name]} == of_billing


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    return made(tmp_path / "certs")


async def test_servers_let_each_service_call_what_the_table_says_and_refuse_the_rest(tmp_path: Path, authority: Path) -> None:
    unlike = []
    async with secure_cell(tmp_path, authority) as addresses:
        for role in _HOLDERS:
            for name, address in addresses.items():
                async with connect(address, name, certificates(authority, role)) as channel:
                    for path, method in METHODS.items():
                        if f".{name}." not in path:
                            continue
                        code, details = await status_of(channel, method)
                        refused = (code, details) == (grpc.StatusCode.PERMISSION_DENIED, f"{role}.tokenline may not call {path}")
                        if refused == (role in CALLERS[path]):
                            unlike.append((role, path, code, details))
    assert unlike == []


@pytest.mark.parametrize("method", ["GrantBucket", "Charge", "ReadJournal"])
async def test_of_who_may_not_call_no_message_is_read(tmp_path: Path, authority: Path, method: str) -> None:
    path = f"{_ACCOUNTING}{method}"
    async with (
        secure_cell(tmp_path, authority) as addresses,
        connect(addresses["accounting"], "accounting", certificates(authority, "registry")) as channel,
    ):
        kinds: dict[str, Any] = {
            "GrantBucket": channel.unary_unary,
            "Charge": channel.stream_stream,
            "ReadJournal": channel.unary_stream,
        }
        call = kinds[method](path)(iter([b"\xff"]) if method == "Charge" else b"\xff", timeout=WAIT_S, wait_for_ready=True)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await (call if method == "GrantBucket" else call.read())
        assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_a_name_that_no_service_has_may_call_nothing(tmp_path: Path, authority: Path) -> None:
    async with secure_cell(tmp_path, authority) as addresses:
        for name in (
            "",
            "edge",
            "x.edge.tokenline",
            "edge.x.tokenline",
            "edgetokenline",
            "edge.tokenline.example",
            "EDGE.tokenline",
        ):
            key, certificate, ca = pems(authority, *([name] if name else []))
            said = name or "a caller without a name"
            credentials = grpc.ssl_channel_credentials(ca, key, certificate)
            options = [("grpc.ssl_target_name_override", "accounting.tokenline")]
            address = addresses["accounting"].removeprefix("tls:")
            async with grpc.aio.secure_channel(address, credentials, options=options) as channel:
                path = f"{_ACCOUNTING}GetAccount"
                assert await status_of(channel, METHODS[path]) == (
                    grpc.StatusCode.PERMISSION_DENIED,
                    f"{said} may not call {path}",
                )
