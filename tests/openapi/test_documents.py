"""The documents and the code say the same: routes, parameters, bodies, errors."""

import inspect
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import msgspec
import pytest
from litestar import Litestar
from litestar.routes import HTTPRoute

from services.edge.app import CALLS, Parts, clients_application, operators_application
from services.edge.call.dialect import Charged
from services.edge.dialects.anthropic_messages.dialect import MESSAGES
from services.edge.http import problems
from services.edge.http.problems import Problem, from_service_error, problem_body
from services.runtime.clock import SystemClock
from services.runtime.errors import ServiceError
from tests.openapi.documents import NAMES, Json, Operation, document, operations, resolved
from tokenline.errors.v1 import errors_pb2

TEMPLATE = re.compile(r"\{[^}]*\}")


class Route(msgspec.Struct):
    """A route as an application registers it."""

    path: str
    method: str
    # Its handler, of a model call None.
    function: Any


def routes(application: Litestar) -> Iterator[Route]:
    for route in application.routes:
        assert isinstance(route, HTTPRoute)
        for handler in route.route_handlers:
            for method in set(handler.http_methods) - {"OPTIONS"}:
                yield Route(route.path, method, handler.fn)


# What routes call is not called here.
_NOTHING: Any = None
_PARTS = Parts(_NOTHING, _NOTHING, _NOTHING, _NOTHING, _NOTHING, _NOTHING, conditions={}, checks=_NOTHING)
CLIENTS = [*(Route(path, "POST", None) for path, _ in CALLS), *routes(clients_application(_PARTS, SystemClock()))]
OPERATORS = [*routes(operators_application(_PARTS, "x" * 16, SystemClock()))]
ROUTES = {(TEMPLATE.sub("{}", route.path), route.method): route for route in (*CLIENTS, *OPERATORS)}
OPERATIONS = [operation for name in NAMES for operation in operations(name)]


def place(operation: Operation) -> tuple[str, str]:
    return TEMPLATE.sub("{}", operation.path), operation.method


def test_each_route_is_in_one_document_and_nothing_else_is() -> None:
    assert Counter(place(operation) for operation in OPERATIONS) == Counter(ROUTES.keys())


def test_operators_have_a_document_of_their_own() -> None:
    of_operators = {place(operation) for operation in OPERATIONS if operation.document == "admin"}
    assert of_operators == {(TEMPLATE.sub("{}", route.path), route.method) for route in OPERATORS}


def test_operations_have_names_of_their_own() -> None:
    names = Counter(operation.spec["operationId"] for operation in OPERATIONS)
    assert [name for name, count in names.items() if count > 1] == []


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.spec["operationId"])
def test_parameters_are_those_of_the_handler(operation: Operation) -> None:
    route = ROUTES[place(operation)]
    parameters = [resolved(operation.document, each) for each in operation.spec.get("parameters", ())]
    by_place = {where: {each["name"] for each in parameters if each["in"] == where} for where in ("path", "query")}
    assert by_place["path"] == set(re.findall(r"\{(\w+)\}", operation.path))
    if route.function is None:
        assert {each["name"] for each in parameters} <= {"Idempotency-Key"}
        return
    taken = set(inspect.signature(route.function).parameters) - {"request"}
    in_path = set(re.findall(r"\{(\w+):", route.path))
    assert in_path <= taken
    assert len(in_path) == len(by_place["path"])
    assert taken - in_path == by_place["query"]


def struct_of(function: Any) -> type[msgspec.Struct] | None:
    """The struct into which a handler parses its body."""
    named = [function.__globals__.get(name) for name in function.__code__.co_names]
    structs = [each for each in named if isinstance(each, type) and issubclass(each, msgspec.Struct)]
    assert len(structs) <= 1
    return structs[0] if structs else None


def inlined(schema: Any, structs: Json) -> Any:
    """A schema with those of the structs within it in their places."""
    if isinstance(schema, list):
        return [inlined(each, structs) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return inlined(structs[schema["$ref"].rpartition("/")[2]], structs)
    return {name: inlined(value, structs) for name, value in schema.items()}


_TOLD = ("description", "title", "examples")


def bare(schema: Any) -> Any:
    """A schema without what is only told to people, in one spelling."""
    if isinstance(schema, list):
        return [bare(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    bare_one = {name: bare(value) for name, value in schema.items() if name not in _TOLD and value != []}
    if "properties" in schema:
        bare_one["properties"] = {name: bare(value) for name, value in schema["properties"].items()}
    if "pattern" in bare_one:
        # Python's end of a text is JavaScript's "$".
        bare_one["pattern"] = bare_one["pattern"].replace(r"\Z", "$")
    return bare_one


ADMIN = [operation for operation in OPERATIONS if ROUTES[place(operation)].function is not None]


@pytest.mark.parametrize("operation", ADMIN, ids=lambda operation: operation.spec["operationId"])
def test_a_body_is_that_of_the_struct(operation: Operation) -> None:
    struct = struct_of(ROUTES[place(operation)].function)
    body = operation.spec.get("requestBody")
    if struct is None:
        assert body is None
        return
    assert body is not None
    structs = msgspec.json.schema(struct)["$defs"]
    wanted = inlined(structs[struct.__name__], structs)
    assert bare(body["content"]["application/json"]["schema"]) == bare(wanted)
    # No body is an empty object.
    assert body["required"] is bool(wanted["required"])


def all_problems() -> list[Problem]:
    """A problem from each function that makes one."""
    made: list[Problem] = []
    samples = {int: 7, float: 7.0, str: "word"}
    for name, function in inspect.getmembers(problems, inspect.isfunction):
        signature = inspect.signature(function)
        if name.startswith("_") or signature.return_annotation is not Problem or function is from_service_error:
            continue
        given = list(signature.parameters.values())
        made.append(function(*(samples.get(each.annotation) for each in given)))
        made.append(function(*(samples.get(each.annotation) for each in given if each.default is inspect.Parameter.empty)))
    reasons: Any = errors_pb2.ErrorReason.values()
    made += [from_service_error(ServiceError(reason, "word")) for reason in reasons]
    return made


PROBLEMS = all_problems()


def schema_of(name: str, component: str) -> Json:
    return {**document(name)["components"]["schemas"][component]}


@pytest.mark.parametrize("name", NAMES)
def test_errors_have_the_documents_shape_and_types(name: str) -> None:
    schema = schema_of(name, "Error")
    error = schema["properties"]["error"]
    kinds = set()
    for problem in PROBLEMS:
        body = msgspec.json.decode(problem_body(problem))
        jsonschema_rs.validate(schema, body)
        assert set(body) == set(schema["required"])
        assert set(error["required"]) <= set(body["error"]) <= set(error["properties"])
        kinds.add(problem.type)
    assert kinds == set(error["properties"]["type"]["enum"])


def test_messages_errors_have_the_documents_shape_and_types() -> None:
    schema = schema_of("calls", "MessagesError")
    kinds = set()
    for problem in PROBLEMS:
        body = msgspec.json.decode(MESSAGES.problem_body(problem, "a-charging-id"))
        jsonschema_rs.validate(schema, body)
        assert set(body) == set(schema["required"])
        assert set(body["error"]) == set(schema["properties"]["error"]["required"])
        kinds.add(body["error"]["type"])
    assert kinds <= set(schema["properties"]["error"]["properties"]["type"]["enum"])


def test_model_calls_document_each_status_and_header_of_a_problem() -> None:
    calls = [operation for operation in OPERATIONS if ROUTES[place(operation)].function is None]
    assert len(calls) == len(CALLS)
    dialects = dict(CALLS)
    for operation in calls:
        for problem in PROBLEMS:
            # Another method, or protocol, has no operation; other conflicts are of the administration.
            if problem.status in (405, 426) or problem.code in ("already_exists", "idempotency_conflict", "not_possible"):
                continue
            if problem.param == "Idempotency-Key" and dialects[operation.path].charged is Charged.NOTHING:
                continue
            status = dialects[operation.path].status_of(problem)
            response = resolved("calls", operation.spec["responses"][str(status)])
            own = {name.decode() for name, _ in problem.headers} - {"connection", "www-authenticate"}
            assert own <= set(response["headers"]), (operation.path, problem.status)


def test_what_two_documents_name_alike_is_alike() -> None:
    seen: dict[tuple[str, str], Any] = {}
    for name in NAMES:
        for kind in ("schemas", "headers", "responses", "securitySchemes"):
            for component, value in document(name)["components"].get(kind, {}).items():
                assert seen.setdefault((kind, component), value) == value, (name, kind, component)


@pytest.mark.parametrize("name", NAMES)
def test_each_component_is_used(name: str) -> None:
    text = str(document(name))
    components = document(name)["components"]
    unused = [
        f"{kind}/{component}"
        for kind in ("schemas", "headers", "responses", "parameters")
        for component in components.get(kind, {})
        if f"'#/components/{kind}/{component}'" not in text
    ]
    assert unused == []
