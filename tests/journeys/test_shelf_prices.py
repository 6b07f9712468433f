"""Prices that move, models that are compared, sound and images: what a price list shows is what a bill says."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from openai import InternalServerError

from tests.journeys.shelf import INPUT, MICRO, OUTPUT, Shop, selling

# Two models compete; the vendor of the first can't be reached, so an equivalent one answers where the subscriber allows it.
RIVALS = """\
vendors:
  - vendor_id: silent
    display_name: Silent
    base_url: https://silent.invalid/v1
    api_key_env: TOKENLINE_SILENT_API_KEY
    base_url_env: TOKENLINE_SILENT_BASE_URL
models:
  - model_id: silent-writer
    display_name: Silent Writer
    owned_by: silent
    context_window_tokens: 131072
    max_output_tokens: 8192
    family_id: deepseek
    release_date: 2026-04-24
    equivalent_model_ids: [deepseek-v4-pro]
    routes:
      - {{vendor_id: silent, vendor_model_id: silent-writer}}
tariffs:
  - tariff_id: rivals
    version: 1
    unit: CURRENCY
    currency: CNY
    public: true
    source: An example of a branch's price list.
    rates:
      - {{model_id: silent-writer, input: 4, output: 16}}
      - {{model_id: deepseek-v4-pro, input: 2, output: 8}}
      - {{model_id: qwen-flash, input: 1, output: 4}}
    upcoming:
      - version: 2
        effective_time: {dearer}
        rates:
          - {{model_id: silent-writer, input: 4, output: 16}}
          - {{model_id: deepseek-v4-pro, input: 3, output: 12}}
          - {{model_id: qwen-flash, input: 1, output: 4}}
  # DeepSeek's way: dearer at peak hours, here those around now for one, and those twelve hours later for the other.
{hours}
offerings:
  - {{offering_id: rivals, display_name: {{zh: 竞价, en: Rivals}}, tariff_id: rivals, reservation_policy: worst_case}}
  - {{offering_id: peak, display_name: {{zh: 高峰, en: Peak}}, tariff_id: hours-peak, reservation_policy: worst_case}}
  - {{offering_id: off-peak, display_name: {{zh: 低谷, en: Off-peak}}, tariff_id: hours-off-peak, reservation_policy: worst_case}}
"""
_HOURS = """\
  - tariff_id: hours-{name}
    version: 1
    unit: CURRENCY
    currency: CNY
    time_zone: Asia/Shanghai
    source: An example of a branch's price list.
    rates: [{{model_id: deepseek-v4-pro, input: 1, output: 4}}]
    windows:
      - window_id: peak
        version: 2
        hours:
{spans}
        rates: [{{model_id: deepseek-v4-pro, input: 2, output: 8}}]
"""
_DAYS = "monday, tuesday, wednesday, thursday, friday, saturday, sunday"


def _twelve_hours_around(moment: datetime, name: str) -> str:
    """A tariff whose peak is half of every day, with the moment in its middle."""
    begin, end = ((moment + timedelta(hours=hours)).strftime("%H:%M") for hours in (-6, 6))
    spans = (
        [f'begin: "{begin}", end: "{end}"'] if begin < end else [f'begin: "{begin}"', *([f'end: "{end}"'] if end > "00:00" else [])]
    )
    return _HOURS.format(name=name, spans="\n".join(f"          - {{days: [{_DAYS}], {span}}}" for span in spans))


def _rivals(dearer: datetime) -> str:
    now = datetime.now(ZoneInfo("Asia/Shanghai"))
    hours = _twelve_hours_around(now, "peak") + _twelve_hours_around(now + timedelta(hours=12), "off-peak")
    return RIVALS.format(dearer=dearer.isoformat(), hours=hours.rstrip("\n"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("prices")


@pytest.fixture(scope="module")
def shop(folder: Path) -> Iterator[Shop]:
    # Nobody listens on the discard port.
    silent = {"TOKENLINE_SILENT_API_KEY": "sk-silent", "TOKENLINE_SILENT_BASE_URL": "http://127.0.0.1:9/v1"}
    later = datetime.now(UTC) + timedelta(days=30)
    with selling(folder, extra=_rivals(later), environment=silent) as opened:
        yield opened


def test_a_user_goes_to_another_model_when_one_becomes_dearer(shop: Shop, folder: Path) -> None:
    customer = shop.account("rivals")
    customer.pays_in(1)

    def listed(model: str) -> tuple[int, int]:
        (tier,) = customer.prices()[model]["prices"]["rivals"]["tiers"]
        return tier["input"], tier["output"]

    # Side by side, in micro-yuan a million tokens.
    assert (listed("deepseek-v4-pro"), listed("qwen-flash")) == ((2 * MICRO, 8 * MICRO), (1 * MICRO, 4 * MICRO))
    cheap = customer.receipt(customer.calls("deepseek-v4-pro"))
    assert (cheap["charged_amount"], cheap["records"][0]["tariff_version"]) == (INPUT * 2 + OUTPUT * 8, 1)
    moment = datetime.now(UTC) + timedelta(seconds=2)
    (folder / "catalog" / "extra.yaml").write_text(_rivals(moment))
    while time.time() < moment.timestamp() or listed("deepseek-v4-pro")[0] == 2 * MICRO:
        pass
    assert listed("deepseek-v4-pro") == (3 * MICRO, 12 * MICRO)
    dear = customer.receipt(customer.calls("deepseek-v4-pro"))
    assert (dear["charged_amount"], dear["records"][0]["tariff_version"]) == (INPUT * 3 + OUTPUT * 12, 2)
    # Another model's ID is all that the client changes.
    other = customer.receipt(customer.calls("qwen-flash"))
    assert other["charged_amount"] == INPUT * 1 + OUTPUT * 4
    told = {each["model_id"]: (each["calls"], each["amount"]) for each in customer.statement()["usage"]}
    assert told == {"deepseek-v4-pro": (2, 180 + 270), "qwen-flash": (1, 90)}
    assert customer.total("CNY")["balance"] == 180 + 270 + 90


def test_an_equivalent_model_answers_where_the_subscriber_allows_it(shop: Shop) -> None:
    customer = shop.account("rivals")
    customer.pays_in(1)
    refused = customer.sdk.with_options(default_headers={"x-tokenline-fallback": "none"})
    with pytest.raises(InternalServerError, match="vendor cannot be reached"):
        refused.chat.completions.create(model="silent-writer", messages=[{"role": "user", "content": "Hello"}], max_tokens=20)
    customer.sdk = customer.sdk.with_options(default_headers={"x-tokenline-fallback": "equivalent"})
    receipt = customer.receipt(customer.calls("silent-writer"))
    # At the price of the model that was asked for; the receipt names the one that answered.
    assert (receipt["charged_amount"], receipt["model_id"]) == (INPUT * 4 + OUTPUT * 16, "silent-writer")
    assert receipt["vendor_model_id"] == "deepseek-v4-pro"
    # The call that failed cost nothing.
    total = customer.total("CNY")
    assert (total["calls"], total["balance"]) == (2, 360)


def test_peak_hours_cost_twice_what_others_do(shop: Shop) -> None:
    for offering_id, amount, version in (("peak", INPUT * 2 + OUTPUT * 8, 2), ("off-peak", INPUT * 1 + OUTPUT * 4, 1)):
        customer = shop.account(offering_id)
        customer.pays_in(1)
        receipt = customer.receipt(customer.calls("deepseek-v4-pro"))
        assert (receipt["charged_amount"], receipt["records"][0]["tariff_version"]) == (amount, version)
        assert customer.total("CNY")["balance"] == amount


def test_energy_stands_beside_the_price_and_in_the_same_measure_as_the_bill(shop: Shop) -> None:
    customer = shop.account("cn-mobile-moma")
    customer.pays_in(1)
    small, large = (customer.prices()[model] for model in ("qwen3-14b", "qwen3-coder-480b-a35b-instruct"))
    # Microjoules of an output token on one kind of GPU, at the most economical batch.
    low = {each["id"]: next(one["low"]["microjoules"] for one in each["energy"] if one["gpu"] == "B200") for each in (small, large)}
    assert low["qwen3-14b"] == 54_770 < low["qwen3-coder-480b-a35b-instruct"]
    assert small["energy"][0]["per"] == "output_token"
    receipt = customer.receipt(customer.calls("qwen3-14b"))
    # 0.35 dollars a million of input and 1.4 of output, a dollar 7.1 yuan; the 20 tokens of output took at least 1.0954 joules.
    assert receipt["charged_amount"] == 25 + 199
    assert receipt["usage"]["output"] * low["qwen3-14b"] == 1_095_400
    (line,) = customer.statement()["usage"]
    assert (line["model_id"], line["calls"], line["amount"]) == ("qwen3-14b", 1, 224)


def test_sound_is_paid_in_classes_and_measures_of_its_own(shop: Shop) -> None:
    customer = shop.account("cn-mobile-moma")
    customer.pays_in(1)
    spoken = customer.sdk.audio.speech.with_raw_response.create(model="tts-1", voice="alloy", input="x" * 1_000)
    # 15 dollars a million characters, a dollar 7.1 yuan: 106.5 micro-yuan for each.
    assert customer.receipt(spoken.headers["x-request-id"])["charged_amount"] == 106_500
    heard = customer.sdk.chat.completions.with_raw_response.create(
        model="gpt-audio-mini",
        messages=[{"role": "user", "content": "x" * 40}],
        max_tokens=20,
        extra_body={"simulate": {"output_tokens": 20, "modalities": {"audio_input_tokens": 100, "audio_output_tokens": 5}}},
    )
    receipt = customer.receipt(heard.headers["x-request-id"])
    # Dollars a million tokens: text 0.6 and 2.4, sound 10 and 20. Each class is rounded up in micro-yuan.
    classes = {each["token_class"]: (each["tokens"], each["amount"]) for each in receipt["class_charges"]}
    assert classes == {"input": (10, 43), "output": (15, 256), "audio_input": (100, 7_100), "audio_output": (5, 710)}
    total = customer.total("CNY")
    assert (total["calls"], total["balance"]) == (2, 106_500 + 43 + 256 + 7_100 + 710)


def test_a_picture_is_paid_by_the_piece(shop: Shop) -> None:
    customer = shop.account("cn-mobile-moma")
    customer.pays_in(10)
    made = customer.sdk.images.with_raw_response.generate(model="grok-imagine-image", prompt="x" * 40, n=2)
    receipt = customer.receipt(made.headers["x-request-id"])
    # Two at 0.02 dollars, a dollar 7.1 yuan.
    assert (receipt["usage"]["generated_images"], receipt["charged_amount"]) == (2, 284_000)
    total = customer.total("CNY")
    assert (total["calls"], total["balance"]) == (1, 284_000)
