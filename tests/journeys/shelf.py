"""A system that sells what operators sell, and its customers with the official SDK."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import httpx
from openai import OpenAI

from tests.cli.processes import Up, up
from tests.waiting import WAIT_S

REGIONS: Final = Path(__file__).parents[2] / "infra" / "regions"
MICRO: Final = 1_000_000
# 40 letters, which the simulator counts as 10 tokens, and an answer of 20.
INPUT, OUTPUT = 10, 20
_TOMORROW_US: Final = time.time_ns() // 1_000 + 86_400_000_000


class Shop:
    """A system that loads every branch, and its administrative API."""

    def __init__(self, system: Up) -> None:
        self._base_url = system.demo.base_url
        self._admin = httpx.Client(
            base_url=f"{system.demo.admin_url}/v1/admin",
            headers={"authorization": f"Bearer {system.demo.admin_token}"},
            timeout=WAIT_S,
        )
        self._keys = 0

    def close(self) -> None:
        self._admin.close()

    def admin(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        answer = self._admin.request(method, path, json=body)
        assert answer.is_success, answer.text
        told: dict[str, Any] = answer.json()
        return told

    def vendor(self, vendor_id: str) -> dict[str, int]:
        """The sums of a vendor's statement, of all time so far: its claims, each fee, and what it gets."""
        statement = self.admin("GET", f"/vendors/{vendor_id}/statement?from_us=1&until_us={_TOMORROW_US}")
        names = ("amount", "platform_fee", "compute_fee", "channel_fee", "net_amount")
        return {name: sum(line[name] for line in statement["lines"]) for name in names}

    def _fresh(self) -> str:
        self._keys += 1
        return f"shelf-{self._keys}"

    def account(self, offering_id: str | None = None, external_id: str | None = None) -> "Customer":
        body = {"idempotency_key": self._fresh(), "offering_id": offering_id, "external_id": external_id}
        account_id = self.admin("POST", "/accounts", body)["account_id"]
        key = self.admin("POST", f"/accounts/{account_id}/keys", {"idempotency_key": self._fresh()})
        return Customer(self, account_id, OpenAI(base_url=self._base_url, api_key=key["api_key"], max_retries=0))

    def buys(self, offering_id: str, payment: str | None) -> "Customer":
        customer = self.account()
        fresh = self._fresh()
        # Asked for where a plan is sold once to a person or company.
        order = customer.order(offering_id, payment, fresh, identity=f"person:{fresh}")
        if payment == "external":
            order = self.admin(
                "POST", f"/accounts/{customer.account_id}/orders/{order['order_id']}/payment", {"payment_reference": "bank-1"}
            )
        assert order["state"] == "completed", order
        return customer


class Customer:
    """An account with one key, or a member of it with its own."""

    def __init__(self, shop: Shop, account_id: str, sdk: OpenAI, member_id: str = "", key_id: str = "") -> None:
        self._shop = shop
        self.account_id = account_id
        self.sdk = sdk
        # Empty where the operator opened the account with the key.
        self.member_id = member_id
        self.key_id = key_id

    def order(self, offering_id: str, payment: str | None, key: str, identity: str | None = None) -> dict[str, Any]:
        body = {"offering_id": offering_id, "idempotency_key": key, "payment_method": payment, "identity": identity}
        return self._shop.admin("POST", f"/accounts/{self.account_id}/orders", body)

    def pays_in(self, yuan: int) -> None:
        body = {"unit": "CURRENCY", "currency": "CNY", "amount": yuan * MICRO, "valid_days": 365, "idempotency_key": "paid in"}
        self._shop.admin("POST", f"/accounts/{self.account_id}/buckets", body)

    def calls(self, model: str, letters: int = 4 * INPUT, output: int = OUTPUT) -> str:
        """A call of 10 tokens of input and 20 of output, if nothing else is said; its charging_id."""
        raw = self.sdk.chat.completions.with_raw_response.create(
            model=model,
            messages=[{"role": "user", "content": "x" * letters}],
            max_tokens=output,
            extra_body={"simulate": {"output_tokens": output}},
        )
        usage = raw.parse().usage
        assert usage is not None
        assert (usage.prompt_tokens, usage.completion_tokens) == (letters // 4, output)
        return raw.headers["x-request-id"]

    def member(self, name: str) -> "Customer":
        """A new member of the account, with a key of its own."""
        member_id = self._shop.admin("POST", f"/accounts/{self.account_id}/members", {"display_name": name})["member_id"]
        return self.with_key(name, member_id)

    def with_key(self, name: str, member_id: str = "", scopes: Sequence[str] = ()) -> "Customer":
        """Another key of the account, of a member if one is named."""
        body = {"member_id": member_id or None, "idempotency_key": name, "scopes": scopes}
        key = self._shop.admin("POST", f"/accounts/{self.account_id}/keys", body)
        sdk = self.sdk.with_options(api_key=key["api_key"])
        return Customer(self._shop, self.account_id, sdk, member_id, key["key_id"])

    def mint(self, tokens: int, valid_seconds: int) -> "Customer":
        """A key below this one for an agent, with a budget and a life of its own."""
        body = {"budget": [{"unit": "TOKEN", "amount": tokens * MICRO}], "valid_seconds": valid_seconds}
        minted = self.sdk.post("/me/keys", body=body, cast_to=httpx.Response).json()
        sdk = self.sdk.with_options(api_key=minted["api_key"])
        return Customer(self._shop, self.account_id, sdk, self.member_id, minted["key_id"])

    def caps(self, member: "Customer", tokens: int) -> None:
        """Lets a member use so much in all."""
        cap = {"limit_id": "cap", "per": "LIMIT_SCOPE_MEMBER", "usage": {"unit": "UNIT_TOKEN", "amount": tokens * MICRO}}
        limits = {"subject": f"member:{member.member_id}", "limits": [cap]}
        self._shop.admin("PUT", f"/accounts/{self.account_id}/limits", limits)

    def _asks(self, path: str) -> dict[str, Any]:
        told: dict[str, Any] = self.sdk.get(path, cast_to=httpx.Response).json()
        return told

    def receipt(self, charging_id: str) -> dict[str, Any]:
        return self._asks(f"/me/receipts/{charging_id}")

    def balance(self) -> dict[str, Any]:
        return self._asks("/me/balance")

    def usage(self) -> dict[str, Any]:
        """What is left to the key, and when it renews."""
        return self._asks("/usage")

    def runs(self) -> dict[str, Any]:
        """The keys that this one minted, with what they used."""
        return {each["key_id"]: each for each in self._asks("/me/keys")["data"]}

    def prices(self) -> dict[str, Any]:
        """The public price list, by model."""
        return {each["id"]: each for each in self._asks("/prices")["data"]}

    def statement(self, by: str = "model") -> dict[str, Any]:
        """All time so far."""
        query = f"from_us=1&until_us={_TOMORROW_US}&by={by}"
        return self._shop.admin("GET", f"/accounts/{self.account_id}/statement?{query}")

    def total(self, unit: str) -> dict[str, Any]:
        """The line of the statement in a unit."""
        (total,) = (each for each in self.statement()["totals"] if unit in (each["unit"], each["currency"]))
        found: dict[str, Any] = total
        return found


@contextmanager
def selling(
    data_dir: Path,
    edits: Callable[[str, str], str] = lambda _, text: text,
    extra: str = "",
    environment: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Shop]:
    """A system with the catalogs of the branches, each changed by `edits`, which is told its name; `extra` is one more."""
    (data_dir / "catalog").mkdir()
    languages = "languages: [zh, en]\n"
    (data_dir / "catalog" / "languages.yaml").write_text(languages)
    for file in sorted(REGIONS.glob("*/catalog/*.yaml")):
        branch = file.parents[1].name
        # A branch has the folder to itself; here all of them share one, in one time zone.
        if branch not in ("beijing", "hongkong"):
            (data_dir / "catalog" / f"{branch}.yaml").write_text(edits(branch, file.read_text().replace(languages, "")))
    (data_dir / "catalog" / "extra.yaml").write_text(extra)
    with up(data_dir, **environment) as system:
        opened = Shop(system)
        yield opened
        opened.close()
