"""A running cell answers as the documents say, whatever it is sent: schemathesis makes requests of them, right ones and wrong ones.

TOKENLINE_OPENAPI_EXAMPLES sets how many requests are made of each operation and kind.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.openapi.cell_process import Told
from tests.openapi.documents import NAMES, Operation, operations, resolved, strict
from tests.waiting import WAIT_S

EXAMPLES = int(os.environ.get("TOKENLINE_OPENAPI_EXAMPLES", "8"))
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
]
OPERATIONS = [operation for name in NAMES for operation in operations(name)]


@pytest.fixture(scope="module")
def told() -> Iterator[Told]:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.openapi.cell_process"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        yield msgspec.json.decode(process.stdout.readline(), type=Told)
        process.communicate()
    assert process.returncode == 0


def with_known(value: Any, known: dict[str, str]) -> Any:
    """A document in which a name that exists is chosen as often as any other text."""
    if isinstance(value, list):
        return [with_known(each, known) for each in value]
    if not isinstance(value, dict):
        return value
    if value.get("in") == "path" and value["name"] in known:
        return {**value, "schema": _or(value["schema"], known[value["name"]])}
    changed = {name: with_known(each, known) for name, each in value.items()}
    if "additionalProperties" in value and isinstance(value.get("properties"), dict):
        for name in known.keys() & value["properties"].keys():
            changed["properties"][name] = _or(changed["properties"][name], known[name])
    return changed


def _or(schema: Any, known: str) -> Any:
    return {"anyOf": [{"type": "string", "enum": [known]}, schema]}


def prepared(name: str, known: dict[str, str]) -> Any:
    document = strict(name)
    # Answers stay as they are.
    for item in document["paths"].values():
        for spec in item.values():
            for part in ("parameters", "requestBody"):
                if part in spec:
                    spec[part] = with_known(spec[part], known)
    document["components"]["parameters"] = with_known(document["components"].get("parameters", {}), known)
    for component, model in (
        ("ChatRequest", "small"),
        ("MessagesRequest", "small"),
        ("CountRequest", "small"),
        ("EmbeddingsRequest", "vectors"),
        ("CompletionsRequest", "older"),
        ("ImagesRequest", "painter"),
        ("TranscriptionRequest", "listener"),
        ("RerankRequest", "ranker"),
        ("SpeechRequest", "speaker"),
    ):
        if component in document["components"]["schemas"]:
            schema = document["components"]["schemas"][component]
            document["components"]["schemas"][component] = with_known(schema, {**known, "model": model})
    return document


@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.spec["operationId"])
def test_answers_are_as_documented(told: Told, operation: Operation, mode: GenerationMode) -> None:
    if mode.is_negative and not (operation.spec.get("parameters") or operation.spec.get("requestBody")):
        pytest.skip("nothing can be wrong in a request that has nothing")
    known = told.known
    if operation.spec["operationId"] == "suspendAccount":
        # The key of the other account is to pass on.
        known = {**known, "account_id": known["to_account_id"]}
    schema = schemathesis.openapi.from_dict(prepared(operation.document, known))
    token = told.admin_token if operation.document == "admin" else told.api_key
    headers = {"authorization": f"Bearer {token}"}

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(schema[operation.path][operation.method].as_strategy(generation_mode=mode))
    def answers(case: "Case[Any]") -> None:
        response = case.call(base_url=told.origin_of(operation.document), headers=headers)
        # A parameter of a query that nobody reads is ignored.
        case.validate_response(response, checks=CHECKS[:-1] if operation.path.endswith(("/journal", "/burning")) else CHECKS)

    answers()


@pytest.mark.parametrize(
    "operation",
    [operation for operation in OPERATIONS if operation.spec["security"]],
    ids=lambda operation: operation.spec["operationId"],
)
def test_without_a_key_each_operation_is_401_in_its_shape(told: Told, operation: Operation) -> None:
    schema = schemathesis.openapi.from_dict(strict(operation.document))
    parameters = [resolved(operation.document, each) for each in operation.spec.get("parameters", ())]
    in_path = {each["name"]: "1" for each in parameters if each["in"] == "path"}
    body: Any = {} if "requestBody" in operation.spec else None
    case = schema[operation.path][operation.method].Case(path_parameters=in_path)
    if body is not None:
        case.body, case.media_type = body, "application/json"
    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Basic eDp5"}, {"authorization": "Bearer é".encode()}):
        response = case.call(base_url=told.origin_of(operation.document), headers=headers)
        assert response.status_code == 401
        case.validate_response(response, checks=CHECKS[1:-1])


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
def test_another_method_is_refused_in_the_words_of_the_dialect(told: Told, path: str) -> None:
    response = requests.get(told.origin + path, timeout=WAIT_S)
    assert (response.status_code, response.headers["allow"]) == (405, "POST")
    assert response.headers["x-request-id"] == response.headers["request-id"] == response.json()["request_id"]
    assert (response.json()["type"], response.json()["error"]["type"]) == ("error", "invalid_request_error")


@pytest.mark.parametrize("field", ["sequence_number", "record_sequence_number"])
def test_a_number_beyond_its_field_is_400_and_named(told: Told, field: str) -> None:
    body: dict[str, Any] = {
        "charging_id": "x",
        "sequence_number": 1,
        "amount": 1,
        "valid_days": 1,
        "reason": "r",
        "idempotency_key": "k",
    }
    response = requests.post(
        f"{told.operators_origin}/v1/admin/accounts/{told.known['account_id']}/refunds",
        json={**body, field: 2**63},
        headers={"authorization": f"Bearer {told.admin_token}"},
        timeout=WAIT_S,
    )
    assert (response.status_code, response.json()["error"]["param"]) == (400, field)
