import json
from typing import Any

import aiohttp
import pytest

from services.vendor_simulator.chat_request import parse_request
from services.vendor_simulator.errors import RefusedError
from services.vendor_simulator.messages import parse_messages

START = '{"model":"cheap","messages":[{"role":"user","content":"abcd"}],"max_tokens":5,"n":1'


@pytest.mark.parametrize(
    ("rest", "field", "read"),
    [
        ("", "model", "cheap"),
        (',"Model":"dear"}', "model", "dear"),
        (',"model":"dear"}', "model", "dear"),
        (',"MODEL":"dear","model":"cheap"}', "model", "cheap"),
        (',"model":"cheap","Model":"dear"}', "model", "dear"),
        (',"mode\\u006c":"dear"}', "model", "dear"),
        (',"N":100}', "n", 100),
        (',"Max_Tokens":9}', "max_tokens", 9),
        (',"max_token\u017f":9}', "max_tokens", 9),
        (',"max_to\u212aens":9}', "max_tokens", 9),
        (',"max_to\\u212aens":9}', "max_tokens", 9),
        (',"Stream":true}', "stream", True),
        (',"stream_options":{"Include_Usage":true}}', "stream_usage", True),
        (',"stream_options":{"include_usage":true},"Stream_Options":{}}', "stream_usage", True),
        (',"Messages":[{"role":"user","content":"abcdabcd"}]}', "input_tokens", 2),
        (',"messages":[{"role":"user","content":"a","Content":"abcdabcdabcd"}]}', "input_tokens", 3),
        (',"messages":[{"role":"user","content":[{"type":"text","TEXT":"abcdabcd"}]}]}', "input_tokens", 2),
        (',"unheard_of":{"model":"dear"}}', "model", "cheap"),
        (',"tools":[{"Model":"dear"}]}', "model", "cheap"),
    ],
)
def test_a_chat_body_is_read_as_go_reads_it(rest: str, field: str, read: Any) -> None:
    assert getattr(parse_request((START + (rest or "}")).encode()), field) == read


def test_a_messages_body_is_read_as_go_reads_it() -> None:
    start = '{"model":"cheap","max_tokens":5,"messages":[{"role":"user","content":"a"}]'
    body = start + ',"Model":"dear","MAX_TOKENS":9,"System":"abcdabc"}'
    request = parse_messages(body.encode())
    assert (request.model, request.max_tokens, request.counted_tokens) == ("dear", 9, 2)


@pytest.mark.parametrize("rest", [',"other":NaN}', ',"other":1', ',"other":' + "[" * 100_000])
def test_what_is_no_json_after_an_unknown_name_is_refused(rest: str) -> None:
    with pytest.raises(RefusedError, match="is not JSON"):
        parse_request((START + rest).encode())


def test_a_folded_name_with_a_wrong_value_is_named() -> None:
    with pytest.raises(RefusedError) as caught:
        parse_request((START + ',"Max_Tokens":0}').encode())
    assert json.loads(caught.value.body)["error"]["param"] == "max_tokens"


async def test_served_tells_by_the_model_that_a_go_vendor_would_serve(http: aiohttp.ClientSession, base_url: str) -> None:
    body = START + ',"Model":"dear","N":3,"simulate":{"output_tokens":4}}'
    async with http.post(f"{base_url}/chat/completions", data=body) as response:
        assert (await response.json())["usage"]["completion_tokens"] == 12
    async with http.get(f"{base_url}/simulator/served") as response:
        by_model = (await response.json())["by_model"]
    assert list(by_model) == ["dear"]
    assert (by_model["dear"]["calls"], by_model["dear"]["input_tokens"], by_model["dear"]["output_tokens"]) == (1, 1, 12)
