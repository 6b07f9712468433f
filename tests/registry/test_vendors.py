"""Vendors: what comes out of a profile, what a layer changes of one, and what every mistake is answered with."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from services.registry.catalog_folder import CatalogReader, base_catalog_folder, load_catalog
from services.registry.tariffs import Rates
from services.registry.vendors import (
    AUTHENTICATIONS,
    DIALECTS,
    ERROR_MEANINGS,
    METERED_FIELDS,
    REASONING_COUNTS,
    UNKNOWN_CONTENT,
    UNKNOWN_FIELDS,
    Endpoints,
)
from services.runtime.config import ConfigError
from services.token_classes import TOKEN_CLASSES
from tests.registry.catalogs import CATALOG, changed, write
from tokenline.registry.v1 import registry_pb2

CHAT, MESSAGES = registry_pb2.DIALECT_OPENAI_CHAT, registry_pb2.DIALECT_ANTHROPIC_MESSAGES
RESPONSES = registry_pb2.DIALECT_OPENAI_RESPONSES
BEARER, X_API_KEY = registry_pb2.VENDOR_AUTHENTICATION_BEARER, registry_pb2.VENDOR_AUTHENTICATION_X_API_KEY

PROFILE = """\
    endpoints:
      openai_chat:
        authentication: x_api_key
        output_limit_field: max_completion_tokens
        limit_counts_reasoning: false
        streams: false
        takes_stream_options: false
        drainable: false
        extra_fields: [top_k, enable_thinking]
        priced_fields: {service_tier: [default, null], tier: [1.5, {a: [true]}], "tools[].type": [function]}
        unknown_fields: refused
        unknown_content: refused
        prompt_caching: marks
        probe_path: /models
        usage:
          reasoning: beside
          paths: {reasoning: [a.b], cached_input: [cached_tokens, more.cached]}
          places: [x_groq.usage, "choices[].usage"]
      anthropic_messages:
        base_url: https://api.acme.test/anthropic/v1
    errors:
      - {http_status: 429, code: "1113", meaning: account}
      - {message_part: Too Long, meaning: context}
"""
VENDORS = CATALOG.replace("TOKENLINE_ACME_BASE_URL\n", "TOKENLINE_ACME_BASE_URL\n" + PROFILE)


def vendor(*folders: Path, vendor_id: str = "acme") -> registry_pb2.Vendor:
    return next(each for each in load_catalog(folders).vendors if each.vendor_id == vendor_id)


def endpoint(vendor: registry_pb2.Vendor, dialect: registry_pb2.Dialect) -> registry_pb2.VendorEndpoint:
    return next(each for each in vendor.endpoints if each.dialect == dialect)


def defaults(
    dialect: registry_pb2.Dialect, base_url: str, authentication: registry_pb2.VendorAuthentication
) -> registry_pb2.VendorEndpoint:
    """An endpoint of which nothing was said."""
    return registry_pb2.VendorEndpoint(
        dialect=dialect,
        base_url=base_url,
        authentication=authentication,
        output_limit_field="max_tokens",
        limit_counts_reasoning=True,
        streams=True,
        takes_stream_options=True,
        drainable=True,
        unknown_fields=registry_pb2.UNKNOWN_FIELD_DROPPED,
        unknown_content=registry_pb2.UNKNOWN_FIELD_PASSED,
        usage=registry_pb2.UsageReading(),
    )


def test_a_vendor_without_a_profile_speaks_openai_chat_at_its_base_url(tmp_path: Path) -> None:
    write(tmp_path, CATALOG)
    acme = vendor(tmp_path)
    assert list(acme.endpoints) == [defaults(CHAT, "https://api.acme.test/v1", BEARER)]
    assert list(acme.errors) == []


def test_responses_have_a_limit_of_their_own_name(tmp_path: Path) -> None:
    write(
        tmp_path, CATALOG.replace("TOKENLINE_ACME_BASE_URL\n", "TOKENLINE_ACME_BASE_URL\n    endpoints: {openai_responses: {}}\n")
    )
    [responses] = vendor(tmp_path).endpoints
    wanted = defaults(RESPONSES, "https://api.acme.test/v1", BEARER)
    wanted.output_limit_field = "max_output_tokens"
    assert responses == wanted


def test_a_profile_is_told_field_by_field(tmp_path: Path) -> None:
    write(tmp_path, VENDORS)
    acme = vendor(tmp_path)
    chat, messages = acme.endpoints
    assert chat == registry_pb2.VendorEndpoint(
        dialect=CHAT,
        base_url="https://api.acme.test/v1",
        authentication=X_API_KEY,
        output_limit_field="max_completion_tokens",
        extra_fields=["enable_thinking", "top_k"],
        priced_fields=[
            registry_pb2.PricedField(field="service_tier", free_values=['"default"', "null"]),
            registry_pb2.PricedField(field="tier", free_values=["1.5", '{"a":[true]}']),
            registry_pb2.PricedField(field="tools[].type", free_values=['"function"']),
        ],
        unknown_fields=registry_pb2.UNKNOWN_FIELD_REFUSED,
        unknown_content=registry_pb2.UNKNOWN_FIELD_REFUSED,
        prompt_caching=registry_pb2.PROMPT_CACHING_MARKS,
        usage=registry_pb2.UsageReading(
            reasoning=registry_pb2.REASONING_COUNT_BESIDE,
            paths=[
                registry_pb2.UsagePath(token_class="cached_input", path="cached_tokens"),  # no secret
                registry_pb2.UsagePath(token_class="cached_input", path="more.cached"),
                registry_pb2.UsagePath(token_class="reasoning", path="a.b"),
            ],
            places=["x_groq.usage", "choices[].usage"],
        ),
        probe_path="/models",
    )
    assert messages == defaults(MESSAGES, "https://api.acme.test/anthropic/v1", X_API_KEY)
    assert list(acme.errors) == [
        registry_pb2.VendorError(http_status=429, code="1113", meaning=registry_pb2.VENDOR_ERROR_MEANING_ACCOUNT),
        registry_pb2.VendorError(message_part="Too Long", meaning=registry_pb2.VENDOR_ERROR_MEANING_CONTEXT),
    ]


# What is replaced, by what, the field the error names after vendors[0], and a part of its message.
MISTAKES = [
    ("authentication: x_api_key", "authentication: basic", "endpoints.openai_chat.authentication", "must be bearer or x_api_key"),
    ("field: max_completion_tokens", "field: max_output",
     "endpoints.openai_chat.output_limit_field", "must be max_tokens or max_completion_tokens; it is 'max_output'"),
    ("    errors:\n", "        output_limit_field: max_completion_tokens\n    errors:\n",
     "endpoints.anthropic_messages.output_limit_field", "must be max_tokens; it is"),
    ("    errors:\n", "      openai_embeddings: {output_limit_field: max_tokens}\n    errors:\n",
     "endpoints.openai_embeddings.output_limit_field", "must be left out: openai_embeddings has no limit of the output"),
    ("streams: false", "streams: sometimes", "endpoints.openai_chat.streams", "must be true or false or left out"),
    ("      anthropic_messages:", "      anthropic:", "endpoints.anthropic",
     "is no known field; did you mean anthropic_messages? Known are: anthropic_messages, "),
    ("        drainable: false", "        drained: false", "endpoints.openai_chat.drained",
     "is no known field; did you mean drainable? Known are: drainable, "),
    ("test/anthropic/v1", "test/anthropic/v1/", "endpoints.anthropic_messages.base_url", "must not end in a slash"),
    ("https://api.acme.test/anthropic/v1", "api.acme.test", "endpoints.anthropic_messages.base_url", "must be an http or https"),
    ("https://api.acme.test/anthropic/v1", "https://somebody@api.acme.test/v1",
     "endpoints.anthropic_messages.base_url", "must have no query, fragment, user or space"),
    ("[top_k, enable_thinking]", "[top_k, Max_Tokens]",
     "endpoints.openai_chat.extra_fields[1]", "'Max_Tokens' is read and written by the meter"),
    ("[top_k, enable_thinking]", "[top_k, 'a b']", "endpoints.openai_chat.extra_fields[1]", "must be the name of a field"),
    ("[top_k, enable_thinking]", "[top_k, max_tokenſ]", "endpoints.openai_chat.extra_fields[1]", "must be the name of a field"),
    ("[top_k, enable_thinking]", "[top_k, top_k]", "endpoints.openai_chat.extra_fields[1]", "stands here already"),
    ("[top_k, enable_thinking]", "[top_k, tier]", "endpoints.openai_chat.extra_fields[1]", "stands in priced_fields too"),
    ("{service_tier:", "{n:", "endpoints.openai_chat.priced_fields", "'n' is read and written by the meter"),
    ("{service_tier:", "{'tools[0]':", "endpoints.openai_chat.priced_fields", "paths like tools[].type; one is 'tools[0]'"),
    ("[default, null]", "default", "endpoints.openai_chat.priced_fields.service_tier",
     "must be a list; it is 'default'"),
    ("unknown_fields: refused", "unknown_fields: kept", "endpoints.openai_chat.unknown_fields", "dropped or refused or passed"),
    ("probe_path: /models", "probe_path: http://acme/models",
     "endpoints.openai_chat.probe_path", "must be a path like /models, after the endpoint's base_url; it is 'http://acme/models'"),
    ("unknown_content: refused", "unknown_content: dropped",
     "endpoints.openai_chat.unknown_content", "must be refused or passed; it is 'dropped'"),
    ("prompt_caching: marks", "prompt_caching: always",
     "endpoints.openai_chat.prompt_caching", "must be none or automatic or marks; it is 'always'"),
    ("    errors:\n", "        prompt_caching: marks\n    errors:\n",
     "endpoints.anthropic_messages.prompt_caching", "must be left out: anthropic_messages needs no word on it"),
    ("reasoning: beside", "reasoning: outside", "endpoints.openai_chat.usage.reasoning", "as_total_shows or inside or beside"),
    ("{reasoning: [a.b]", "{thoughts: [a.b]", "endpoints.openai_chat.usage.paths", "no token class has the name 'thoughts'"),
    ("[cached_tokens, more.cached]", "[cached_tokens, more..cached]",
     "endpoints.openai_chat.usage.paths.cached_input[1]", "must be names joined by dots"),
    ("[x_groq.usage, ", "[.usage, ", "endpoints.openai_chat.usage.places[0]", "must be names joined by dots, like x_groq.usage"),
    ("meaning: account", "meaning: arrears", "errors[0].meaning", " or ".join(ERROR_MEANINGS)),
    ("http_status: 429", "http_status: 99", "errors[0].http_status", "must be from 200 to 599"),
    ('code: "1113"', "code: 1113", "errors[0].code", "must be text; it is 1113: put it in quotes"),
    ("message_part: Too Long, ", "", "errors[1]", "must give at least one of http_status, code, message_part"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "field", "message"), MISTAKES)
def test_a_mistake_is_answered_with_file_line_field_and_what_would_be_right(
    tmp_path: Path, old: str, new: str, field: str, message: str
) -> None:
    text = changed(old, new, VENDORS)
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_catalog([tmp_path])
    error = str(caught.value)
    at, _, rest = error.removeprefix(f"{path}:").partition(": ")
    assert rest.startswith(f"vendors[0].{field}: "), error
    assert message in error
    # The line stands in the endpoint, the list or the field itself.
    assert text.splitlines()[int(at) - 1].strip(), error
    assert PROFILE.splitlines()[0] in text.splitlines()[: int(at)], error


@pytest.mark.parametrize("field", sorted(METERED_FIELDS))
def test_no_profile_passes_on_what_the_meter_reads(tmp_path: Path, field: str) -> None:
    write(tmp_path, changed("[top_k, enable_thinking]", f"[{field.upper()}]", VENDORS))
    with pytest.raises(ConfigError, match="is read and written by the meter"):
        load_catalog([tmp_path])


LAYER = """\
vendors:
  - vendor_id: acme
    endpoints:
      openai_chat:
        limit_counts_reasoning: true
        priced_fields: {top_k: [null]}
        usage: {places: [elsewhere.usage]}
    errors:
      - {code: E7, meaning: overloaded}
"""


def test_a_layer_changes_single_fields(tmp_path: Path) -> None:
    """What it leaves out stays; lists and maps are replaced, its errors are tried first, and a price wins over being free."""
    write(tmp_path / "base", VENDORS)
    write(tmp_path / "branch", LAYER)
    before, after = vendor(tmp_path / "base"), vendor(tmp_path / "base", tmp_path / "branch")
    chat = endpoint(before, CHAT)
    chat.limit_counts_reasoning = True
    chat.usage.places[:] = ["elsewhere.usage"]
    chat.extra_fields[:] = ["enable_thinking"]
    del chat.priced_fields[:]
    chat.priced_fields.add(field="top_k", free_values=["null"])
    own = registry_pb2.VendorError(code="E7", meaning=registry_pb2.VENDOR_ERROR_MEANING_OVERLOADED)
    assert list(after.errors) == [own, *before.errors]
    del after.errors[0]
    assert after == before


def test_a_layer_that_moves_a_vendor_moves_all_of_it(tmp_path: Path) -> None:
    """No call goes on to an address that only the base knew."""
    write(tmp_path / "base", VENDORS)
    moved = "vendors:\n  - vendor_id: acme\n    base_url: http://proxy.test\n"
    write(tmp_path / "a", moved)
    assert [each.base_url for each in vendor(tmp_path / "base", tmp_path / "a").endpoints] == ["http://proxy.test"]
    write(tmp_path / "b", moved + "    endpoints: {anthropic_messages: {drainable: false}}\n")
    chat, messages = vendor(tmp_path / "base", tmp_path / "b").endpoints
    assert (chat.base_url, messages.base_url, messages.drainable) == ("http://proxy.test", "http://proxy.test", False)
    assert chat.output_limit_field == "max_completion_tokens"
    write(tmp_path / "c", moved + "    endpoints: {anthropic_messages: {base_url: 'http://proxy.test/a'}}\n")
    assert [each.base_url for each in vendor(tmp_path / "base", tmp_path / "c").endpoints] == [
        "http://proxy.test",
        "http://proxy.test/a",
    ]
    # To repeat the address moves nothing.
    write(tmp_path / "d", moved.replace("http://proxy.test", "https://api.acme.test/v1"))
    assert vendor(tmp_path / "base", tmp_path / "d") == vendor(tmp_path / "base")


def test_what_a_layer_below_has_priced_is_not_made_free_by_a_list(tmp_path: Path) -> None:
    write(tmp_path / "base", VENDORS)
    branch = write(tmp_path / "branch", "vendors:\n  - {vendor_id: acme, endpoints: {openai_chat: {extra_fields: [tier]}}}\n")
    with pytest.raises(ConfigError) as caught:
        load_catalog([tmp_path / "base", tmp_path / "branch"])
    assert str(caught.value).startswith(f"{branch}:2: vendors[0].endpoints.openai_chat.extra_fields[0]: 'tier' stands in priced")


def test_a_mistake_in_a_changed_vendor_is_found_where_it_stands(tmp_path: Path) -> None:
    base = write(tmp_path / "base", changed('code: "1113", meaning: account', 'code: "1113", meaning: arrears', VENDORS))
    branch = write(tmp_path / "branch", LAYER)
    with pytest.raises(ConfigError) as caught:
        load_catalog([tmp_path / "base", tmp_path / "branch"])
    at = VENDORS[: VENDORS.index("- {http_status: 429")].count("\n") + 1
    assert str(caught.value).startswith(f"{base}:{at}: vendors[0].errors[0].meaning: must be")
    write(tmp_path / "base", VENDORS)
    write(tmp_path / "branch", changed("meaning: overloaded", "meaning: busy", LAYER))
    with pytest.raises(ConfigError) as caught:
        load_catalog([tmp_path / "base", tmp_path / "branch"])
    assert str(caught.value).startswith(f"{branch}:9: vendors[0].errors[0].meaning: must be")


def test_a_vendor_of_no_layer_below_needs_all_its_fields(tmp_path: Path) -> None:
    write(tmp_path / "base", CATALOG)
    branch = write(tmp_path / "branch", "vendors:\n  - {vendor_id: acne, base_url: 'http://acne.test'}\n")
    with pytest.raises(ConfigError) as caught:
        load_catalog([tmp_path / "base", tmp_path / "branch"])
    message = "is missing; only a vendor of a layer below may leave it out"
    assert str(caught.value) == f"{branch}:2: vendors[0].display_name: {message}"


def test_files_in_folders_of_a_layer_belong_to_it(tmp_path: Path) -> None:
    vendors, rest = CATALOG.index("vendors:"), CATALOG.index("tokenizer_families:")
    write(tmp_path / "layer", CATALOG[:vendors] + CATALOG[rest:])
    path = write(tmp_path / "layer" / "vendors", CATALOG[vendors:rest], "acme.yaml")
    # As Kubernetes mounts files.
    write(tmp_path / "layer" / "..data", CATALOG)
    (tmp_path / "layer" / "folder.yaml").mkdir()
    write(tmp_path / "whole", CATALOG)
    assert load_catalog([tmp_path / "layer"]) == load_catalog([tmp_path / "whole"])
    reader = CatalogReader([tmp_path / "layer"])
    assert reader.read_if_changed() is not None
    path.write_text(changed("display_name: Acme", "display_name: Acme Limited", path.read_text()))
    changed_catalog = reader.read_if_changed()
    assert changed_catalog is not None
    assert changed_catalog.vendors[0].display_name == "Acme Limited"
    path.write_text(path.read_text() + "models: 3\n")
    with pytest.raises(ConfigError, match=r"layer/vendors/acme\.yaml:\d+: models"):
        load_catalog([tmp_path / "layer"])


@pytest.mark.parametrize(
    ("names", "enum", "prefix"),
    [
        (DIALECTS, registry_pb2.Dialect, "DIALECT_"),
        # A dialect that is in one of them alone would be read and left out without a word.
        ([each.name for each in msgspec.structs.fields(Endpoints)], registry_pb2.Dialect, "DIALECT_"),
        (AUTHENTICATIONS, registry_pb2.VendorAuthentication, "VENDOR_AUTHENTICATION_"),
        ({*UNKNOWN_FIELDS, *UNKNOWN_CONTENT}, registry_pb2.UnknownField, "UNKNOWN_FIELD_"),
        (set(REASONING_COUNTS) - {"as_total_shows"}, registry_pb2.ReasoningCount, "REASONING_COUNT_"),
        (ERROR_MEANINGS, registry_pb2.VendorErrorMeaning, "VENDOR_ERROR_MEANING_"),
    ],
)
def test_a_profile_can_say_what_the_contract_can(names: Iterable[str], enum: type[Any], prefix: str) -> None:
    contract = {name.removeprefix(prefix).lower() for name, _ in enum.items()} - {"unspecified"}
    assert set(names) == contract


def test_rates_name_every_token_class() -> None:
    assert sorted(each.name for each in msgspec.structs.fields(Rates)) == sorted(TOKEN_CLASSES)


BASE = load_catalog([base_catalog_folder()])


def test_every_base_vendor_has_a_file_with_its_sites() -> None:
    files = {path.stem for path in (base_catalog_folder() / "vendors").iterdir()}
    assert files == {each.vendor_id.removesuffix("-international") for each in BASE.vendors}
    assert {each.vendor_id for each in BASE.vendors} - files == {
        *(
            "alibaba-international",
            "minimax-international",
            "moonshot-international",
            "stepfun-international",
            "zhipu-international",
        ),
    }
    assert files == {
        "deepseek", "alibaba", "volcengine", "zhipu", "moonshot", "minimax", "openai", "anthropic", "google", "xai",
        "baidu", "tencent", "stepfun", "baichuan", "xiaomi", "kuaishou", "meituan", "mistral", "cohere", "meta",
    }  # fmt: skip


WITHOUT_LIMIT = (
    registry_pb2.DIALECT_OPENAI_EMBEDDINGS,
    registry_pb2.DIALECT_OPENAI_IMAGES,
    registry_pb2.DIALECT_OPENAI_TRANSCRIPTIONS,
    registry_pb2.DIALECT_OPENAI_SPEECH,
    registry_pb2.DIALECT_RERANK,
)
WITHOUT_TOOLS = (*WITHOUT_LIMIT, registry_pb2.DIALECT_OPENAI_COMPLETIONS)


@pytest.mark.parametrize("vendor", BASE.vendors, ids=[each.vendor_id for each in BASE.vendors])
def test_a_base_vendor_leaves_nothing_unsaid(vendor: registry_pb2.Vendor) -> None:
    for each in vendor.endpoints:
        assert each.dialect
        assert each.base_url.startswith("https://")
        assert each.authentication
        assert bool(each.output_limit_field) is (each.dialect not in WITHOUT_LIMIT)
        assert each.unknown_fields
        assert each.unknown_content
        # What costs extra is refused, whatever the vendor: tiers, search, tools that the vendor runs.
        priced = {field.field: list(field.free_values) for field in each.priced_fields}
        assert not {'"priority"', '"flex"', '"fast"', "true"} & {value for values in priced.values() for value in values}
        assert "service_tier" in priced
        assert "tools[].type" in priced or each.dialect in WITHOUT_TOOLS
    assert all(error.meaning for error in vendor.errors)


def meaning(vendor_id: str, http_status: int, code: str = "", message: str = "") -> str:
    """What the contract says that an error means: the first that matches."""
    vendor = next(each for each in BASE.vendors if each.vendor_id == vendor_id)
    for each in vendor.errors:
        if (
            each.http_status in (0, http_status)
            and each.code in ("", code)
            and (not each.message_part or each.message_part.lower() in message.lower())
        ):
            return registry_pb2.VendorErrorMeaning.Name(each.meaning).removeprefix("VENDOR_ERROR_MEANING_").lower()
    return ""


@pytest.mark.parametrize(
    ("vendor_id", "http_status", "code", "message", "expected"),
    [
        ("deepseek", 402, "", "Insufficient Balance", "account"),
        ("deepseek", 400, "invalid_request_error", "This model's maximum context length is 131072 tokens.", "context"),
        ("deepseek", 422, "", "", "request"),
        ("alibaba", 400, "Arrearage", "Access denied, please make sure your account is in good standing.", "account"),
        ("alibaba", 400, "invalid_request_error", "Access denied, please make sure your account is in good standing.", "account"),
        ("alibaba", 400, "data_inspection_failed", "Output data may contain inappropriate content.", "content"),
        ("alibaba", 400, "invalid_parameter_error", "Range of input length should be [1, 30720]", "context"),
        ("alibaba", 400, "invalid_parameter_error", "temperature", "request"),
        ("volcengine", 403, "AccountOverdueError", "Your account has an overdue balance.", "account"),
        ("volcengine", 400, "InputTextSensitiveContentDetected", "the input text may contain sensitive information", "content"),
        ("zhipu", 429, "1113", "Your account is in arrears", "account"),
        ("zhipu", 429, "1302", "High concurrency usage of this API", "rate_limit"),
        ("zhipu", 400, "1301", "unsafe or sensitive content", "content"),
        ("zhipu-international", 429, "1113", "Your account is in arrears", "account"),
        ("moonshot", 429, "exceeded_current_quota_error", "Your account is suspended", "account"),
        ("moonshot", 403, "", "", "account"),
        ("moonshot", 429, "rate_limit_reached_error", "max RPM", "rate_limit"),
        ("moonshot", 400, "content_filter", "", "content"),
        ("moonshot", 400, "invalid_request_error", "Your request exceeded model token limit: 262144", "context"),
        ("minimax", 500, "", "insufficient balance (1008)", "account"),
        ("minimax", 200, "1008", "", "account"),
        ("minimax", 429, "insufficient_balance_error", "", "account"),
        ("minimax", 200, "1002", "rate limit", "rate_limit"),
        ("openai", 429, "insufficient_quota", "You exceeded your current quota", "account"),
        ("openai", 429, "rate_limit_exceeded", "Rate limit reached", "rate_limit"),
        ("openai", 400, "context_length_exceeded", "", "context"),
        ("anthropic", 400, "invalid_request_error", "Your credit balance is too low to access the Anthropic API.", "account"),
        ("anthropic", 529, "overloaded_error", "Overloaded", "overloaded"),
        ("anthropic", 400, "invalid_request_error", "prompt is too long: 208310 tokens > 200000 maximum", "context"),
        ("google", 402, "RESOURCE_EXHAUSTED", "", "account"),
        ("google", 400, "", "API key not valid. Please pass a valid API key.", "account"),
        ("xai", 400, "", "Incorrect API key provided", "account"),
    ],
)  # fmt: skip
def test_what_errors_of_base_vendors_mean(vendor_id: str, http_status: int, code: str, message: str, expected: str) -> None:
    assert meaning(vendor_id, http_status, code, message) == expected


@pytest.mark.parametrize("vendor_id", [each.vendor_id for each in BASE.vendors])
@pytest.mark.parametrize("http_status", [401, 402, 403])
def test_a_secret_or_a_right_that_fails_is_the_operators(vendor_id: str, http_status: int) -> None:
    assert meaning(vendor_id, http_status) == "account"


def test_what_base_vendors_heed_and_count() -> None:
    vendors = {each.vendor_id: each for each in BASE.vendors}
    chats = {vendor_id: endpoint(each, CHAT) for vendor_id, each in vendors.items()}
    assert {vendor_id for vendor_id, each in chats.items() if each.output_limit_field == "max_completion_tokens"} == {
        "openai",
        "minimax",
        "minimax-international",
        "kuaishou",
    }
    assert {vendor_id for vendor_id, each in chats.items() if not each.limit_counts_reasoning} == {
        *("alibaba", "alibaba-international", "volcengine"),
    }
    assert chats["xai"].usage.reasoning == registry_pb2.REASONING_COUNT_BESIDE
    assert [path.path for path in chats["deepseek"].usage.paths] == ["prompt_cache_hit_tokens"]
    assert [path.path for path in chats["moonshot"].usage.paths] == ["cached_tokens"]
    assert list(chats["moonshot"].usage.places) == ["choices[].usage"]
    responses = {vendor_id: each for vendor_id, vendor in vendors.items() for each in vendor.endpoints if each.dialect == RESPONSES}
    assert {vendor_id: each.output_limit_field for vendor_id, each in responses.items()} == {"openai": "max_output_tokens"}
    messages = {
        vendor_id: (each.base_url, each.authentication)
        for vendor_id, vendor in vendors.items()
        for each in vendor.endpoints
        if each.dialect == MESSAGES
    }
    assert messages == {
        "deepseek": ("https://api.deepseek.com/anthropic/v1", X_API_KEY),
        "alibaba": ("https://dashscope.aliyuncs.com/apps/anthropic/v1", X_API_KEY),
        "alibaba-international": ("https://dashscope-intl.aliyuncs.com/apps/anthropic/v1", X_API_KEY),
        "zhipu": ("https://open.bigmodel.cn/api/anthropic/v1", X_API_KEY),
        "zhipu-international": ("https://api.z.ai/api/anthropic/v1", X_API_KEY),
        "moonshot": ("https://api.moonshot.cn/anthropic/v1", BEARER),
        "moonshot-international": ("https://api.moonshot.ai/anthropic/v1", BEARER),
        "minimax": ("https://api.minimaxi.com/anthropic/v1", BEARER),
        "minimax-international": ("https://api.minimax.io/anthropic/v1", BEARER),
        "anthropic": ("https://api.anthropic.com/v1", X_API_KEY),
        "xiaomi": ("https://api.xiaomimimo.com/anthropic/v1", BEARER),
        "meta": ("https://api.meta.ai/v1", BEARER),
    }


@pytest.mark.parametrize(
    ("fees", "field", "message"),
    [
        ("[{platform: 0.5, compute: 0.4, channel: 0.100001}]", "fees[0]", "must come to at most 1"),
        ("[{platform: -0.1}]", "fees[0].platform", "must not be negative"),
        ("[{platform: 0.0000001}]", "fees[0].platform", "must have at most 6 decimals"),
        ("[{platform: 0.1}, {platform: 0.2}]", "fees[1].effective_time", "is missing"),
        ("[{effective_time: 2027-01-01T00:00:00Z, platform: 0.1}]", "fees[0].effective_time", "must be left out"),
        ("[{platform: 0.1}, {effective_time: 2027-01-01T00:00:00, platform: 0.2}]", "fees[1].effective_time", "an offset"),
        (
            "[{}, {effective_time: 2027-01-02T00:00:00Z}, {effective_time: 2027-01-02T00:00:00+00:00}]",
            "fees[2].effective_time",
            "must be later",
        ),
    ],
)
def test_shares_that_leave_the_vendor_less_than_nothing_or_have_no_time_are_flaws(
    tmp_path: Path, fees: str, field: str, message: str
) -> None:
    text = changed("    display_name: Acme\n", f"    display_name: Acme\n    fees: {fees}\n")
    with pytest.raises(ConfigError) as caught:
        load_catalog([write(tmp_path, text).parent])
    assert f".{field}: " in str(caught.value)
    assert message in str(caught.value)


def test_shares_reach_accounting_in_millionths(tmp_path: Path) -> None:
    fees = "[{platform: 0.05, channel: 0.95}, {effective_time: 2027-01-01T00:00:00+08:00, compute: 0.000001}]"
    text = changed("    display_name: Acme\n", f"    display_name: Acme\n    fees: {fees}\n")
    catalog = load_catalog([write(tmp_path, text).parent])
    first, later = next(vendor for vendor in catalog.vendors if vendor.vendor_id == "acme").fees
    assert (first.HasField("effective_time"), first.platform, first.compute, first.channel) == (False, 50_000, 0, 950_000)
    assert (later.effective_time.ToJsonString(), later.compute) == ("2026-12-31T16:00:00Z", 1)
