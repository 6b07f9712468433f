"""`tokenline price`: what a given call would cost on each model, by the price list of a running system."""

import http.client
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from services.accounting.core.amounts import NO_RATE, TOKENS_MAX, ContextTier, PinnedTariff, charges_of
from services.cli.amounts import format_amount
from services.cli.client import find_folder
from services.cli.failures import CommandError
from services.cli.printing import print_amounts, table, text_of
from services.token_classes import TOKEN_CLASSES, Vector

_TIMEOUT_S: Final = 30.0
# Models that a line of a table names.
_NAMED_MAX: Final = 10
_TOKENS: Final = click.IntRange(0, TOKENS_MAX)


class PricedModel(msgspec.Struct, frozen=True):
    """A model of the price list, as far as its calls are priced here."""

    id: str
    aliases: tuple[str, ...]
    context_window: int
    max_output_tokens: int
    measures: dict[str, str]
    # By tariff; None: it has no price there.
    prices: dict[str, dict[str, Any] | None]

    def takes(self, input_tokens: int, output_tokens: int) -> bool:
        """Whether it can be called so."""
        in_tokens = set(self.measures.values()) == {"token"}
        return in_tokens and input_tokens + output_tokens <= self.context_window and output_tokens <= self.max_output_tokens


class ListedTariff(msgspec.Struct, frozen=True):
    """A tariff of the price list."""

    id: str
    version: int
    unit: str
    currency: str | None


class PriceList(msgspec.Struct, frozen=True):
    """The answer of GET /v1/prices, as far as it is read here."""

    tariffs: tuple[ListedTariff, ...]
    data: tuple[PricedModel, ...]


@click.command("price")
@click.option("--input", "input_tokens", type=_TOKENS, required=True, help="All tokens of the input.")
@click.option("--cached", "cached_tokens", type=_TOKENS, default=0, help="Those of them that the vendor's cache serves.")
@click.option("--output", "output_tokens", type=_TOKENS, required=True, help="All tokens of the output.")
@click.option("--model", "model_ids", multiple=True, metavar="ID", help="Only this model; may be given several times.")
@click.option("--currency", metavar="CODE", help="Only list prices in this currency, such as CNY.")
@click.option("--url", metavar="URL", help="The address for clients of another system; its list needs no key.")
@click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")
@click.option("--data-dir", type=click.Path(path_type=Path), metavar="DIR", help="The data folder of the system.")
def price_command(*, url: str | None, as_json: bool, data_dir: Path | None, **call: Any) -> None:
    """Say what a call would cost on each model, the cheapest first, rounded as it is charged."""
    wanted = Wanted(**call)
    if wanted.cached_tokens > wanted.input_tokens:
        raise CommandError(f"--cached {wanted.cached_tokens} is more than --input {wanted.input_tokens}, of which it is a part")
    answer = answer_of(read_prices(_address(url, data_dir)), wanted)
    print_amounts(answer, "json" if as_json else "table", lambda: _tables(answer))


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A call to be priced."""

    input_tokens: int
    cached_tokens: int = 0
    output_tokens: int
    # Empty: every model.
    model_ids: Sequence[str] = ()
    # None: every public tariff, whatever its unit.
    currency: str | None = None


def _address(url: str | None, data_dir: Path | None) -> str:
    if url is not None:
        if not url.startswith(("http://", "https://")):
            raise CommandError(f"--url is {url!r}; it should begin with http:// or https://")
        return url.rstrip("/").removesuffix("/v1")
    folder = find_folder(data_dir)
    if folder is None:
        raise CommandError("TOKENLINE_URL is the address for operators; give that for clients with --url")
    demo = folder.read_demo()
    if demo is None:
        raise CommandError(f"no system is ready in {folder.path}; start it with `tokenline up`, or give --url")
    return demo.base_url.removesuffix("/v1")


def read_prices(base_url: str) -> PriceList:
    """The price list of the system whose clients are at `base_url`. Errors: `CommandError` when it cannot be had."""
    url = f"{base_url}/v1/prices"
    try:
        # The system may be on this machine or inside a cluster; what the environment says of proxies is meant for the way out.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(url, timeout=_TIMEOUT_S) as response:
            return msgspec.json.decode(response.read(), type=PriceList)
    except urllib.error.HTTPError as error:
        raise CommandError(f"{url} answered {error.code}; is this the address of a Tokenline for its clients?") from error
    except msgspec.DecodeError as error:
        raise CommandError(f"{url} has no price list: {error}; is this the address of a Tokenline?") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise CommandError(
            f"{url} cannot be reached: {getattr(error, 'reason', None) or error}; start it, or correct it"
        ) from error


def answer_of(prices: PriceList, wanted: Wanted) -> dict[str, Any]:
    """The cost of the call in each public tariff, as JSON, amounts in micro-units.

    Errors: `CommandError` for a model or a currency that is not in the list.
    """
    tariffs = [each for each in prices.tariffs if wanted.currency in (None, each.currency)]
    if not tariffs:
        known = sorted({each.currency for each in prices.tariffs if each.currency})
        raise CommandError(f"no public tariff is in {wanted.currency}; there are {', '.join(known) or 'none'}")
    models = _models(prices.data, wanted.model_ids)
    return {
        "input": wanted.input_tokens,
        "cached": wanted.cached_tokens,
        "output": wanted.output_tokens,
        "data": [_in_tariff(tariff, models, wanted) for tariff in tariffs],
    }


def _models(listed: Iterable[PricedModel], model_ids: Sequence[str]) -> list[PricedModel]:
    models = {name: model for model in listed for name in (*model.aliases, model.id)}
    if not model_ids:
        return [model for name, model in models.items() if name == model.id]
    for model_id in model_ids:
        if model_id not in models:
            raise CommandError(f"no model of the price list is named {model_id!r}; `tokenline model list` shows them")
    return [models[model_id] for model_id in dict.fromkeys(model_ids)]


def _in_tariff(tariff: ListedTariff, models: Iterable[PricedModel], wanted: Wanted) -> dict[str, Any]:
    costs: list[tuple[int, str]] = []
    unpriced, unfit = [], []
    for model in models:
        price = model.prices.get(tariff.id)
        if not model.takes(wanted.input_tokens, wanted.output_tokens):
            unfit.append(model.id)
        elif price is None:
            unpriced.append(model.id)
        else:
            costs.append((_amount(tariff, price["tiers"], wanted), model.id))
    return {
        "tariff_id": tariff.id,
        "version": tariff.version,
        "unit": tariff.unit,
        "currency": tariff.currency,
        "prices": [{"model": model_id, "amount": amount} for amount, model_id in sorted(costs)],
        # Not sold by this tariff, and not able to take such a call.
        "unpriced": sorted(unpriced),
        "unfit": sorted(unfit),
    }


def _amount(tariff: ListedTariff, tiers: Iterable[Mapping[str, int]], wanted: Wanted) -> int:
    pinned = PinnedTariff(
        tariff.id,
        tariff.version,
        tariff.unit,
        tuple(ContextTier(tier["above_input_tokens"], tuple(tier.get(name, NO_RATE) for name in TOKEN_CLASSES)) for tier in tiers),
    )
    usage: Vector = (wanted.input_tokens - wanted.cached_tokens, wanted.cached_tokens, 0, wanted.output_tokens, 0)
    return sum(charges_of(pinned, usage))


def _tables(answer: dict[str, Any]) -> Iterable[Any]:
    for each in answer["data"]:
        unit = each["currency"] or each["unit"]
        rows = [[price["model"], format_amount(price["amount"])] for price in each["prices"]]
        yield table(f"{each['tariff_id']}, version {each['version']}", ("model", unit), rows, right=(unit,))
        if each["unpriced"]:
            yield text_of(f"Without a price here, and so not sold by this tariff: {_named(each['unpriced'])}.")
        if each["unfit"]:
            yield text_of(f"Not for a call of this size, or not charged by the token: {_named(each['unfit'])}.")


def _named(model_ids: Sequence[str]) -> str:
    more = len(model_ids) - _NAMED_MAX
    return ", ".join(model_ids[:_NAMED_MAX]) + (f" and {more} more" if more > 0 else "")
