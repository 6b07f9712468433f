"""A vendor of the catalog as the edge has it: nothing of its profile is lost on the way."""

import pytest

from services.edge.vendors.profile import (
    Endpoint,
    ErrorRule,
    Meaning,
    PromptCaching,
    Reasoning,
    Unknown,
    UsageReading,
    endpoints_of,
)
from services.edge.vendors.vendor import VendorFault
from services.token_classes import INDEX
from tokenline.registry.v1 import registry_pb2 as pb


def test_all_of_an_endpoint_is_read() -> None:
    # Nothing here is as it would be without a word.
    vendor = pb.Vendor(
        vendor_id="acme",
        base_url="https://acme.test/v1",
        endpoints=[
            pb.VendorEndpoint(
                dialect=pb.DIALECT_ANTHROPIC_MESSAGES,
                base_url="https://acme.test/anthropic/",
                authentication=pb.VENDOR_AUTHENTICATION_X_API_KEY,
                output_limit_field="max_output_tokens",
                extra_fields=["top_a"],
                priced_fields=[pb.PricedField(field="search", free_values=["false", "null"])],
                unknown_fields=pb.UNKNOWN_FIELD_PASSED,
                unknown_content=pb.UNKNOWN_FIELD_REFUSED,
                prompt_caching=pb.PROMPT_CACHING_AUTOMATIC,
                usage=pb.UsageReading(
                    reasoning=pb.REASONING_COUNT_BESIDE,
                    paths=[
                        pb.UsagePath(token_class="cached_input", path="details.cached"),
                        pb.UsagePath(token_class="of_a_later_release", path="later"),
                    ],
                    places=["x_acme.usage"],
                ),
            )
        ],
        errors=[
            pb.VendorError(http_status=400, code="1113", message_part="Arrears", meaning=pb.VENDOR_ERROR_MEANING_ACCOUNT),
        ],
    )
    assert endpoints_of(vendor, "", "key") == {
        "anthropic_messages": Endpoint(
            vendor_id="acme",
            dialect="anthropic_messages",
            base_url="https://acme.test/anthropic",
            api_key="key",
            key_in_header=True,
            output_limit_field="max_output_tokens",
            limit_counts_reasoning=False,
            streams=False,
            takes_stream_options=False,
            drainable=False,
            extra_fields=frozenset({"top_a"}),
            priced_fields=(("search", frozenset({b"false", b"null"})),),
            unknown_fields=Unknown.PASSED,
            unknown_content=Unknown.REFUSED,
            usage=UsageReading(Reasoning.BESIDE, ((INDEX["cached_input"], ("details", "cached")),), (("x_acme", "usage"),)),
            errors=(ErrorRule(400, "1113", "arrears", Meaning.ACCOUNT),),
            prompt_caching=PromptCaching.AUTOMATIC,
        )
    }


def test_an_older_registrys_vendor_speaks_chat_at_its_address() -> None:
    vendor = pb.Vendor(vendor_id="acme", base_url="https://acme.test/v1")
    assert endpoints_of(vendor, "", "") == {"openai_chat": Endpoint("acme", "openai_chat", "https://acme.test/v1")}
    moved = endpoints_of(vendor, "http://127.0.0.1:9/", "")
    assert moved["openai_chat"].base_url == "http://127.0.0.1:9"


RULES = (
    ErrorRule(400, "1113", "arrears", Meaning.ACCOUNT),
    ErrorRule(0, "overloaded_error", "", Meaning.OVERLOADED),
    ErrorRule(429, "", "too long", Meaning.CONTEXT),
)


@pytest.mark.parametrize(
    ("fault", "meaning"),
    [
        (VendorFault(400, "1113", message="Account in ARREARS"), Meaning.ACCOUNT),
        # All signs of a rule must be there.
        (VendorFault(400, "1113", message="other"), Meaning.REQUEST),
        (VendorFault(400, "1114", message="arrears"), Meaning.REQUEST),
        (VendorFault(401, "1113", message="arrears"), Meaning.ACCOUNT),
        # A code may stand where the kind does.
        (VendorFault(400, kind="overloaded_error"), Meaning.OVERLOADED),
        (VendorFault(429, message="The prompt is Too Long."), Meaning.CONTEXT),
        *((VendorFault(status), Meaning.ACCOUNT) for status in (401, 402, 403, 404, 405)),
        *((VendorFault(status), Meaning.REQUEST) for status in (400, 409, 413, 415, 422, 451)),
        *((VendorFault(status), Meaning.RATE_LIMIT) for status in (408, 429)),
        *((VendorFault(status), Meaning.OVERLOADED) for status in (200, 418, 500, 503, 529)),
    ],
)
def test_what_an_error_means(fault: VendorFault, meaning: Meaning) -> None:
    assert Endpoint("acme", "openai_chat", "https://acme.test/v1", errors=RULES).meaning(fault) is meaning
