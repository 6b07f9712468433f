"""Ranks: what is read of a request, what a vendor gets, and what passes of its scores."""

import json
from typing import Any

import pytest

from services.edge.call.dialect import Body, Charged, Ending, Step
from services.edge.dialects.rerank.answer import RerankAnswer
from services.edge.dialects.rerank.dialect import Rerank
from services.edge.dialects.rerank.request import RerankRequest
from services.edge.http.problems import Problem, unavailable
from services.edge.tokens.estimate import estimate
from services.edge.tokens.size import size_of
from services.edge.vendors.events import Event
from services.edge.vendors.profile import Endpoint, Unknown, UsageReading
from services.edge.vendors.vendor import VendorFailure
from services.token_classes import INDEX

ENDPOINT = Endpoint("acme", "rerank", "http://acme.test/v1")
DOCUMENTS = ["one", "two äö", "three"]
USED = (7, 0, 0, 0, 0)


def read(**fields: Any) -> RerankRequest:
    body = {"model": "m", "query": "which?", "documents": DOCUMENTS, **fields}
    return Rerank().read(Body(json.dumps(body).encode(), "application/json"), {})


def written(endpoint: Endpoint = ENDPOINT, **fields: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    asked = read(**fields).vendor_request(endpoint, "acme-m", None, streamed=False)
    assert (asked.path, asked.body.content_type) == ("/rerank", "application/json")
    return json.loads(asked.body.content), asked.dropped


def results(*scores: tuple[Any, Any]) -> list[dict[str, Any]]:
    return [{"index": index, "relevance_score": score} for index, score in scores]


def fed(whole: Any, **fields: Any) -> tuple[RerankAnswer, Step]:
    answer = read(**fields).answer(ENDPOINT)
    return answer, answer.feed_whole(whole if isinstance(whole, bytes) else json.dumps(whole).encode())


# Requests


def test_the_query_is_read_beside_each_document() -> None:
    request = read()
    size = request.size()
    assert size.bytes_bound == len("onetwo äöthree".encode()) + 3 * len("which?")
    assert (size.inputs, size.messages, size.param, list(size.texts())) == (3, 3, "documents", ["which?", *DOCUMENTS])
    assert estimate(size.text) >= estimate(size_of("which?" * 3))
    assert read(odd="xx").size().bytes_bound == size.bytes_bound + len('odd"xx"')
    assert (request.makes_output, request.streamed, request.choices, request.output_limit) == (False, False, 1, None)
    assert (Rerank().charged, Rerank().name) == (Charged.INPUT, "rerank")
    assert request.whole_bytes_max(0) == 65_536 + 3 * 4_096 + 12 * 14


def test_a_vendor_gets_texts_and_sends_none_back() -> None:
    sent, dropped = written(documents=["one", {"text": "two"}], top_n=1, return_documents=True, odd=1, user="u")
    assert sent == {"model": "acme-m", "query": "which?", "documents": ["one", "two"], "top_n": 1, "user": "u"}
    assert dropped == ("odd",)
    # No more results than documents are asked for.
    assert written(top_n=9)[0]["top_n"] == 3


@pytest.mark.parametrize(
    ("fields", "param", "message"),
    [
        ({"model": ""}, "model", "You must provide a model"),
        ({"query": ""}, "query", "You must provide a query"),
        ({"query": ["a"]}, "query", "query must be a string"),
        ({"documents": None}, "documents", "You must provide documents"),
        ({"documents": "a"}, "documents", "documents must be a list of texts"),
        ({"documents": [5]}, "documents", "documents must be a list of texts"),
        ({"documents": [{"text": "a", "image": "b"}]}, "documents", "documents must be a list of texts"),
        ({"documents": []}, "documents", "documents must be 1 to 1000; there are 0"),
        ({"documents": ["a"] * 1_001}, "documents", "documents must be 1 to 1000; there are 1001"),
        ({"documents": ["a", ""]}, "documents[1]", "documents[1] is empty. Leave it out."),
        ({"top_n": 0}, "top_n", "top_n must be 1 to"),
        ({"return_documents": "yes"}, "return_documents", "return_documents must be true or false"),
        ({"stream": True}, "stream", "Ranks are not streamed."),
        ({"Query": "b"}, "Query", "write query, in exactly these letters"),
    ],
)
def test_what_is_wrong_is_named(fields: dict[str, Any], param: str, message: str) -> None:
    with pytest.raises(Problem) as caught:
        read(**fields)
    assert (caught.value.status, caught.value.param) == (400, param)
    assert message in caught.value.message


def test_fields_follow_the_profile() -> None:
    extra = ENDPOINT._replace(extra_fields=frozenset({"instruction"}))
    assert written(extra, instruction="i")[0]["instruction"] == "i"
    with pytest.raises(Problem):
        written(ENDPOINT._replace(unknown_fields=Unknown.REFUSED), instruction="i")


# Answers


@pytest.mark.parametrize(
    ("members", "tokens"),
    [
        ({"usage": {"total_tokens": 7}}, 7),
        ({"usage": {"prompt_tokens": 6, "total_tokens": 7}}, 6),
        ({"meta": {"tokens": {"input_tokens": 7, "output_tokens": 3}}}, 7),
        ({"meta": {"billed_units": {"input_tokens": 7, "search_units": 1}}}, 7),
        ({"meta": {"billed_units": {"search_units": 1}}}, None),
        ({}, None),
    ],
)
def test_a_count_is_of_the_input_alone(members: dict[str, Any], tokens: int | None) -> None:
    _, step = fed({"results": results((1, 0.5)), **members})
    assert step.counted is not None
    assert (step.counted.has_input, step.counted.counts) == (tokens is not None, (tokens or 0, 0, 0, 0, 0))
    assert (step.counted.has_output, step.finished, step.ended, step.said) == (True, True, True, "")


def test_output_that_a_profile_has_a_path_to_is_none() -> None:
    endpoint = ENDPOINT._replace(usage=UsageReading(paths=((INDEX["output"], ("output_tokens",)),)))
    whole = {"results": results((1, 0.5)), "meta": {"tokens": {"input_tokens": 7, "output_tokens": 3}}}
    step = read().answer(endpoint).feed_whole(json.dumps(whole).encode())
    assert step.counted is not None
    assert step.counted.counts == USED


def test_scores_come_back_in_one_shape_with_the_charged_usage() -> None:
    whole = {"id": "r", "results": [{**each, "document": {"text": "free"}, "odd": 1} for each in results((2, 0.75), (0, -1))]}
    answer, _ = fed({**whole, "odd": "x", "usage": {"total_tokens": 5}})
    told = json.loads(answer.end(Ending.COMPLETE, USED))
    usage = {"prompt_tokens": 7, "total_tokens": 7}
    assert told == {"id": "r", "model": "m", "results": results((2, 0.75), (0, -1.0)), "usage": usage}
    # As one vendor has them.
    answer, _ = fed({"output": {"results": results((2, 0.75))}, "id": "x" * 300})
    assert json.loads(answer.end(Ending.COMPLETE, USED)) == {"model": "m", "results": results((2, 0.75)), "usage": usage}


def test_documents_come_from_the_request() -> None:
    answer, _ = fed({"results": results((2, 1), (1, 0))}, return_documents=True, top_n=1)
    told = json.loads(answer.end(Ending.COMPLETE, USED))
    assert told["results"] == [{"index": 2, "relevance_score": 1.0, "document": {"text": "three"}}]


@pytest.mark.parametrize(
    "whole",
    [
        {},
        {"results": []},
        {"results": 5},
        {"results": results((3, 1))},
        {"results": results((-1, 1))},
        {"results": results((0, 1), (0, 0))},
        {"results": results((0, "high"))},
        {"results": results((0, None))},
        {"results": [{"index": 0}]},
        b'{"results":[{"index":0,"relevance_score":1e999}]}',
        b"",
        b"[]",
        b"\xff",
    ],
)
def test_other_results_than_documents_are_no_answer(whole: Any) -> None:
    with pytest.raises(VendorFailure) as caught:
        fed(whole)
    assert caught.value.outcome == "garbage"


def test_an_error_of_status_200_is_a_refusal_and_nothing_is_streamed() -> None:
    with pytest.raises(VendorFailure) as caught:
        fed({"error": {"message": "no", "code": "x"}})
    assert caught.value.outcome == "refused"
    answer = read().answer(ENDPOINT)
    with pytest.raises(VendorFailure):
        answer.feed(Event("", b"{}"))
    assert json.loads(answer.interrupted(unavailable("it"), "id"))["error"]["code"] == "service_unavailable"
