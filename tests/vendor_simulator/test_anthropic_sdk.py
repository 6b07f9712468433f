import anthropic
import pytest

SIMULATE = {
    "output_tokens": 30,
    "reasoning_tokens": 5,
    "reasoning": "reasoning_content",
    "tools": {"calls": 2, "argument_tokens": 6},
    "cached_input_tokens": 2,
    "cache_write_tokens": 1,
    "cache_write_1h_tokens": 1,
    "added_input_tokens": 7,
}


async def test_the_official_sdk_reads_all_of_it(base_url: str) -> None:
    async with anthropic.AsyncAnthropic(base_url=base_url.removesuffix("/v1"), api_key="key-9", max_retries=0) as client:
        answer = await client.messages.create(
            model="m", max_tokens=100, messages=[{"role": "user", "content": "abcd" * 10}], extra_body={"simulate": SIMULATE}
        )
        async with client.messages.stream(
            model="m", max_tokens=100, messages=[{"role": "user", "content": "abcd" * 10}], extra_body={"simulate": SIMULATE}
        ) as stream:
            streamed = await stream.get_final_message()
        assert [block.type for block in answer.content] == ["thinking", "text", "tool_use", "tool_use"]
        ignored = {"parsed_output"}
        whole = [block.model_dump(exclude=ignored) for block in answer.content]
        assert [block.model_dump(exclude=ignored) for block in streamed.content] == whole
        assert streamed.usage.model_dump() == answer.usage.model_dump()
        assert (answer.usage.input_tokens, answer.usage.cache_read_input_tokens, answer.usage.output_tokens) == (13, 2, 30)
        counted = await client.messages.count_tokens(model="m", messages=[{"role": "user", "content": "abcd" * 10}])
        assert counted.input_tokens == 10


@pytest.mark.parametrize(("failure", "error"), [
    ("refuse_400", anthropic.BadRequestError), ("unauthorized_401", anthropic.AuthenticationError),
    ("rate_limit_429", anthropic.RateLimitError), ("error_500", anthropic.InternalServerError),
])  # fmt: skip
async def test_the_official_sdk_knows_the_errors(base_url: str, failure: str, error: type[anthropic.APIStatusError]) -> None:
    async with anthropic.AsyncAnthropic(base_url=base_url.removesuffix("/v1"), api_key="key-9", max_retries=0) as client:
        with pytest.raises(error) as caught:
            await client.messages.create(
                model="m",
                max_tokens=9,
                messages=[{"role": "user", "content": "a"}],
                extra_body={"simulate": {"failure": failure}},
            )
    assert (caught.value.request_id or "").startswith("req_")


async def test_the_official_sdk_raises_in_mid_stream(base_url: str) -> None:
    failing = {"simulate": {"failure": "error_mid_stream", "failure_after_tokens": 2}}
    async with anthropic.AsyncAnthropic(base_url=base_url.removesuffix("/v1"), api_key="key-9", max_retries=0) as client:
        with pytest.raises(anthropic.APIError, match="failed in mid-stream"):
            async with client.messages.stream(
                model="m", max_tokens=9, messages=[{"role": "user", "content": "a"}], extra_body=failing
            ) as stream:
                await stream.get_final_message()
