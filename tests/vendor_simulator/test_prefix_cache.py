"""What counts as cached, because an earlier prompt began with it."""

import aiohttp

from services.runtime.lifecycle import Lifecycle
from services.vendor_simulator.app import run_vendor_simulator
from services.vendor_simulator.config import VendorSimulatorConfig
from services.vendor_simulator.prefix_cache import PrefixCache

# 256 letters are a block of 64 tokens.
ONE, TWO, THREE = "a" * 256, "b" * 256, "c" * 256


def test_what_a_prompt_repeats_from_its_beginning_on_is_cached() -> None:
    cache = PrefixCache(10_000)
    assert cache.read("m", [ONE, TWO]) == 0
    assert cache.read("m", [ONE + TWO + THREE]) == 128
    assert cache.read("m", [ONE, TWO, THREE, "d"]) == 192
    # Not after a block that is new, and not of another model.
    assert cache.read("m", [ONE, THREE, THREE]) == 64
    assert cache.read("m", [TWO, THREE]) == 0
    assert cache.read("other", [ONE]) == 0


def test_part_of_a_block_is_not_cached() -> None:
    cache = PrefixCache(10_000)
    cache.read("m", [ONE, TWO[:255]])
    assert cache.read("m", [ONE, TWO[:255]]) == 64


def test_what_was_read_longest_ago_leaves_first() -> None:
    cache = PrefixCache(2 * 64)
    cache.read("m", [ONE])
    cache.read("m", [TWO])
    cache.read("m", [ONE])
    cache.read("m", [THREE])
    assert [cache.read("m", [ONE]), cache.read("m", [TWO])] == [64, 0]


async def test_answers_tell_what_was_cached_in_each_dialect() -> None:
    async with (
        run_vendor_simulator(VendorSimulatorConfig(port=0, prefix_cache_tokens=1_000_000), Lifecycle()) as url,
        aiohttp.ClientSession() as http,
    ):

        async def usage(path: str, **body: object) -> dict[str, object]:
            async with http.post(url + path, json={"model": "m", **body}) as response:
                found: dict[str, object] = (await response.json())["usage"]
                return found

        messages = [{"role": "user", "content": ONE + TWO}]
        await usage("/chat/completions", messages=messages)
        assert (await usage("/chat/completions", messages=messages))["prompt_tokens_details"] == {"cached_tokens": 128}
        told = await usage("/chat/completions", messages=messages, simulate={"cached_input_tokens": 7})
        assert told["prompt_tokens_details"] == {"cached_tokens": 7}
        assert (await usage("/messages", messages=messages, max_tokens=9))["cache_read_input_tokens"] == 128
        told = await usage("/responses", input=ONE + TWO)
        assert told["input_tokens_details"] == {"cached_tokens": 128, "cache_write_tokens": 0}


async def test_without_a_cache_each_prompt_is_new() -> None:
    async with run_vendor_simulator(VendorSimulatorConfig(port=0), Lifecycle()) as url, aiohttp.ClientSession() as http:
        for _ in range(2):
            body = {"model": "m", "messages": [{"role": "user", "content": ONE}]}
            async with http.post(f"{url}/chat/completions", json=body) as response:
                assert (await response.json())["usage"]["prompt_tokens_details"] == {"cached_tokens": 0}
