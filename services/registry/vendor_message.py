"""A vendor as its author wrote it, turned into the contract's message: every field of its endpoints set."""

from typing import Final, TypeVar

import msgspec

from services.registry.rules import micro_amount
from services.registry.vendors import Endpoint, FeeShares, UsageReading, Vendor, VendorError, filled
from services.token_classes import INDEX
from tokenline.registry.v1 import registry_pb2

T = TypeVar("T")

# Numbers with a point come from YAML as exact decimals.
_JSON: Final = msgspec.json.Encoder(decimal_format="number")


def vendor_message(vendor: Vendor) -> registry_pb2.Vendor:
    """The message of a valid vendor."""
    return registry_pb2.Vendor(
        vendor_id=vendor.vendor_id,
        display_name=vendor.display_name,
        base_url=vendor.base_url,
        api_key_env=vendor.api_key_env,
        base_url_env=vendor.base_url_env,
        endpoints=[_endpoint(dialect, endpoint) for dialect, endpoint in filled(vendor).items()],
        errors=[_error(error) for error in vendor.errors],
        priced_at=f"PRICED_AT_{(vendor.priced_at or 'start').upper()}",
        fees=[_fees(each) for each in vendor.fees or ()],
    )


def _fees(fees: FeeShares) -> registry_pb2.FeeShares:
    message = registry_pb2.FeeShares(
        platform=micro_amount(fees.platform), compute=micro_amount(fees.compute), channel=micro_amount(fees.channel)
    )
    if fees.effective_time is not None:
        message.effective_time.FromDatetime(fees.effective_time)
    return message


def _endpoint(dialect: str, endpoint: Endpoint) -> registry_pb2.VendorEndpoint:
    return registry_pb2.VendorEndpoint(
        dialect=f"DIALECT_{dialect.upper()}",
        base_url=endpoint.base_url,
        authentication=f"VENDOR_AUTHENTICATION_{_set(endpoint.authentication).upper()}",
        output_limit_field=endpoint.output_limit_field,
        limit_counts_reasoning=_set(endpoint.limit_counts_reasoning),
        streams=_set(endpoint.streams),
        takes_stream_options=_set(endpoint.takes_stream_options),
        drainable=_set(endpoint.drainable),
        extra_fields=sorted(_set(endpoint.extra_fields)),
        priced_fields=[
            registry_pb2.PricedField(field=field, free_values=[_JSON.encode(value).decode() for value in values])
            for field, values in sorted(_set(endpoint.priced_fields).items())
        ],
        unknown_fields=f"UNKNOWN_FIELD_{_set(endpoint.unknown_fields).upper()}",
        unknown_content=f"UNKNOWN_FIELD_{_set(endpoint.unknown_content).upper()}",
        usage=_usage(_set(endpoint.usage)),
        prompt_caching=_caching(_set(endpoint.prompt_caching)),
        probe_path=endpoint.probe_path,
    )


def _caching(caching: str) -> str | None:
    return None if caching == "none" else f"PROMPT_CACHING_{caching.upper()}"


def _usage(usage: UsageReading) -> registry_pb2.UsageReading:
    reasoning = _set(usage.reasoning)
    return registry_pb2.UsageReading(
        reasoning=None if reasoning == "as_total_shows" else f"REASONING_COUNT_{reasoning.upper()}",
        paths=[
            registry_pb2.UsagePath(token_class=token_class, path=path)
            for token_class, paths in sorted(_set(usage.paths).items(), key=lambda item: INDEX[item[0]])
            for path in paths
        ],
        places=_set(usage.places),
    )


def _error(error: VendorError) -> registry_pb2.VendorError:
    return registry_pb2.VendorError(
        http_status=error.http_status,
        code=error.code,
        message_part=error.message_part,
        meaning=f"VENDOR_ERROR_MEANING_{error.meaning.upper()}",
    )


def _set(value: T | None) -> T:
    """The value, which `filled` has set."""
    assert value is not None
    return value
