"""Whether an answer of an edge is one that the documents tell of: asked of all answers that tests get."""

import re
from collections.abc import Mapping
from functools import cache
from typing import Final
from urllib.parse import urlsplit

import jsonschema_rs
import msgspec

from tests.openapi.documents import NAMES, Operation, operations, resolved, strict

# What has no operation is refused, in the documents' shape.
_REFUSED: Final = (404, 405, 426)


def assert_documented(method: str, path: str, status: int, headers: Mapping[str, str], body: bytes) -> None:
    """Asserts that the status, the content type and a JSON body's schema stand in a document. `headers` are in lower case."""
    operation = _operation(method, urlsplit(path).path)
    if operation is None:
        assert status in _REFUSED, (method, path, status)
        return
    responses = operation.spec["responses"]
    assert str(status) in responses, f"{method} {operation.path} does not document {status}: {body!r}"
    response = resolved(operation.document, responses[str(status)])
    content_type = headers["content-type"].partition(";")[0]
    assert content_type in response["content"], f"{method} {operation.path} {status} does not document {content_type}"
    if content_type == "application/json":
        _validator(operation.document, operation.path, method, str(status)).validate(msgspec.json.decode(body))


@cache
def _templates() -> list[tuple[re.Pattern[str], Operation]]:
    """The operations by pattern of their paths; paths without parameters come first."""
    found = []
    for operation in (operation for name in NAMES for operation in operations(name)):
        # A model's ID may have slashes.
        pattern = re.sub(r"\\\{(\w+)\\\}", lambda match: ".+" if match[1] == "id" else "[^/]+", re.escape(operation.path))
        found.append((re.compile(pattern), operation))
    return sorted(found, key=lambda each: "{" in each[1].path)


def _operation(method: str, path: str) -> Operation | None:
    for pattern, operation in _templates():
        if operation.method == method and pattern.fullmatch(path):
            return operation
    return None


@cache
def _validator(name: str, path: str, method: str, status: str) -> jsonschema_rs.Draft202012Validator:
    document = strict(name)
    response = document["paths"][path][method.lower()]["responses"][status]
    if "$ref" in response:
        response = document["components"]["responses"][response["$ref"].rpartition("/")[2]]
    schema = response["content"]["application/json"]["schema"]
    return jsonschema_rs.Draft202012Validator({**schema, "components": document["components"]}, validate_formats=True)
