"""The public price list: every model that any account can call here, with its price in each public tariff, side by side. Pure."""

import gzip
import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import msgspec
from google.protobuf.timestamp_pb2 import Timestamp

from services.edge.catalog import SellableModel, Snapshot
from services.edge.tariffs import PriceTier, TariffInForce
from tokenline.registry.v1 import registry_pb2

_GZIP_LEVEL: Final = 6


class PriceList(NamedTuple):
    """The list as JSON, as it is sent, and packed; of one version of the catalog at a moment."""

    body: bytes
    packed: bytes
    # The entity tag of both.
    tag: str


def price_list(snapshot: Snapshot) -> PriceList:
    """The list of a catalog's models and public tariffs. Takes some tens of milliseconds for 400 models.

    Rates are in micro-units per 1,000,000 of their measure. A tariff without a price for a model has null there.
    """
    tariffs = snapshot.public_tariffs()
    models = ((snapshot.model(each.model_id), each) for each in snapshot.catalog.models)
    body = msgspec.json.encode(
        {
            "object": "list",
            "tariffs": [_tariff_json(tariff) for tariff in tariffs],
            "sources": [
                {"id": each.source_id, "title": each.title, "date": _day(each.published_time)} for each in snapshot.catalog.sources
            ],
            # A line of its own is between two: whom it is for sees it in the list of models.
            "data": [
                _model_json(model, each, tariffs)
                for model, each in models
                if model is not None and model.routes and not model.only_for
            ],
        }
    )
    return PriceList(body, gzip.compress(body, _GZIP_LEVEL, mtime=0), f'W/"{hashlib.blake2b(body, digest_size=16).hexdigest()}"')


def tier_json(tier: PriceTier) -> dict[str, int]:
    """The rates of a tier, in micro-units per 1,000,000 of their measure."""
    return {"above_input_tokens": tier.above_input_tokens, **tier.rates}


def _tariff_json(tariff: TariffInForce) -> dict[str, Any]:
    return {
        "id": tariff.tariff_id,
        "version": tariff.version,
        "unit": tariff.unit,
        "currency": tariff.currency or None,
        "source": tariff.source,
    }


def _model_json(model: SellableModel, told: registry_pb2.Model, tariffs: Sequence[TariffInForce]) -> dict[str, Any]:
    return {
        "id": model.model_id,
        "aliases": list(told.aliases),
        "display_name": model.display_name,
        "owned_by": model.owned_by,
        "context_window": model.context_window_tokens,
        "max_output_tokens": model.max_output_tokens,
        "measures": {"input": model.measures.input.value, "output": model.measures.output.value},
        "released": _day(told.release_time) if told.HasField("release_time") else None,
        "sunset": _day(told.sunset_time) if told.HasField("sunset_time") else None,
        "equivalents": list(model.equivalent_model_ids),
        "sources": list(told.source_ids),
        "conflict": told.conflict or None,
        "prices": {tariff.tariff_id: _price_json(tariff, model.model_id) for tariff in tariffs},
        "energy": [_energy_json(each) for each in told.energy] or None,
    }


def _price_json(tariff: TariffInForce, model_id: str) -> dict[str, Any] | None:
    row, tiers = tariff.row(model_id), tariff.tiers(model_id)
    if row is None or tiers is None:
        return None
    return {
        "tiers": [tier_json(tier) for tier in tiers],
        "sources": list(row.source_ids),
        "conflict": row.conflict or None,
    }


def _energy_json(energy: registry_pb2.Energy) -> dict[str, Any]:
    return {
        "gpu": energy.gpu,
        "per": registry_pb2.EnergyUnit.Name(energy.per).removeprefix("ENERGY_UNIT_").lower(),
        "task": energy.task,
        "low": {"microjoules": energy.low_microjoules, "batch": energy.low_batch},
        "high": {"microjoules": energy.high_microjoules, "batch": energy.high_batch},
        "sources": list(energy.source_ids),
    }


def _day(time: Timestamp) -> str:
    return datetime.fromtimestamp(time.seconds, UTC).date().isoformat()
