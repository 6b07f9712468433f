"""Which routes are open to the calls of an offering, and when another model answers in the place of the one asked for."""

from collections.abc import Callable
from typing import Any

import pytest

from services.edge.call.dialect import Charged
from services.edge.catalog import Snapshot
from services.edge.vendors.vendor import VendorFailure
from tests.edge.call.doubles import CallClient, FakeCharging
from tests.edge.call.line_dialect import END, FINISH, counted, say
from tests.edge.call.scene import OUTPUT_TOKENS, SECRETS, Scene, catalog
from tokenline.accounting.v1 import accounting_pb2 as pb
from tokenline.registry.v1 import registry_pb2 as registry

BOTH = pytest.mark.parametrize("stream", ["yes", "no"])
ANSWER = (say("hello"), FINISH, counted(input=3, output=2), END)
FALLBACK = "x-tokenline-fallback"
Edit = Callable[[dict[str, registry.Model], dict[str, registry.Offering]], None]


def _snapshot(edit: Edit) -> Snapshot:
    """The catalog with an offering "line" beside "plan", changed."""
    message = registry.Catalog()
    message.CopyFrom(catalog().catalog)
    message.offerings.add(offering_id="line", tariff_id="t")
    edit({each.model_id: each for each in message.models}, {each.offering_id: each for each in message.offerings})
    return Snapshot(message, SECRETS, "")


def _scene(edit: Edit, offering_id: str = "plan", **charging: Any) -> Scene:
    return Scene(FakeCharging(offering_id=offering_id, **charging), _snapshot(edit))


def _asked(scene: Scene) -> list[str]:
    return [asked.url.split("/")[2] for asked in scene.vendors.asked]


def _answers(scene: Scene, *vendors: str) -> None:
    for vendor in vendors:
        scene.vendors.answers(*ANSWER, vendor=vendor)


def _dedicated(models: dict[str, registry.Model], offerings: dict[str, registry.Offering]) -> None:
    """Acme's routes are a dedicated line, which "line" alone opens."""
    for model in models.values():
        for route in model.routes:
            if route.vendor_id == "acme":
                route.offering_ids.append("line")


@BOTH
async def test_a_dedicated_route_is_opened_by_its_offering_and_never_sold_to_others(stream: str) -> None:
    scene = _scene(_dedicated, "line")
    _answers(scene, "acme")
    assert (await scene.call(f"model=pair stream={stream}")).status == 200
    assert _asked(scene) == ["acme"]

    scene = _scene(_dedicated)
    _answers(scene, "beta")
    assert (await scene.call(f"model=pair stream={stream}")).status == 200
    # Nor where all others fail.
    scene.charging.forget()
    scene.vendors.answers(VendorFailure("refused", 500), vendor="beta")
    assert (await scene.call(f"model=pair stream={stream}")).status == 502
    assert _asked(scene) == ["beta", "beta"]


@BOTH
async def test_a_model_of_dedicated_routes_alone_is_not_there_for_others_and_costs_them_nothing(stream: str) -> None:
    scene = _scene(_dedicated)
    client = await scene.call(f"model=solo stream={stream}")
    assert (client.status, b"model_not_found" in client.body) == (404, True)
    assert (_asked(scene), scene.cause) == ([], "rejected")
    assert not any(scene.used)


async def test_a_dedicated_route_is_not_sold_where_calls_go_on_with_a_cheaper_model() -> None:
    def edit(models: dict[str, registry.Model], offerings: dict[str, registry.Offering]) -> None:
        _dedicated(models, offerings)
        offerings["plan"].final_unit = registry.FINAL_UNIT_RESTRICT_ACCESS
        offerings["plan"].restricted_model_id = "solo"

    scene = _scene(edit)
    scene.charging.refuses = [
        pb.Refused(
            offering_id="plan",
            result_code=pb.RESULT_CODE_QUOTA_LIMIT_REACHED,
            final_unit_action=pb.FINAL_UNIT_ACTION_RESTRICT_ACCESS,
        )
    ]
    client = await scene.call("model=undrained")
    assert [create.model_id for create in scene.charging.creates] == ["undrained", "solo"]
    assert (client.status, _asked(scene)) == (404, [])


async def test_no_conversation_is_tied_to_a_dedicated_route_of_others() -> None:
    scene = _scene(_dedicated)
    for number in range(40):
        _answers(scene, "beta", "rude", "deep")
        assert (await scene.call(f"model=even talk=talk-{number} limit=500")).status == 200
        scene.charging.forget()
    assert set(_asked(scene)) == {"beta", "rude", "deep"}


async def test_free_counts_do_not_take_a_dedicated_route_of_others() -> None:
    scene = _scene(_dedicated)
    scene.vendors.answers(b"count input=9", vendor="beta", content_type="application/json")
    assert (await scene.call("kind=count model=pair", charged=Charged.NOTHING)).status == 200
    assert _asked(scene) == ["beta"]
    assert (await scene.call("kind=count model=solo", charged=Charged.NOTHING)).status == 404


def _placed(required: str = "", preferred: str = "") -> Edit:
    def edit(models: dict[str, registry.Model], offerings: dict[str, registry.Offering]) -> None:
        for route, region in zip(models["even"].routes, ("north", "south", "", "south"), strict=True):
            route.region = region
        offerings["plan"].required_regions.extend(required.split())
        offerings["plan"].preferred_regions.extend(preferred.split())

    return edit


async def _all_asked(edit: Edit, talk: str) -> list[str]:
    """The vendors that a call comes to where each fails."""
    scene = _scene(edit)
    for vendor in ("acme", "beta", "rude", "deep"):
        scene.vendors.answers(VendorFailure("refused", 500), vendor=vendor)
    await scene.call(f"model=even talk={talk} limit=500")
    return _asked(scene)


async def test_calls_whose_data_must_stay_in_a_region_go_to_its_routes_alone() -> None:
    for talk in ("a", "b", "c", "d", "e", "f"):
        assert set(await _all_asked(_placed(required="south"), talk)) == {"beta", "deep"}
    assert await _all_asked(_placed(required="north"), "a") == ["acme"]
    scene = _scene(_placed(required="west"))
    assert (await scene.call("model=even limit=500")).status == 404
    assert _asked(scene) == []


async def test_routes_of_a_preferred_region_go_first_and_keep_their_order() -> None:
    for talk in ("a", "b", "c", "d", "e", "f"):
        plain, preferred = await _all_asked(_placed(), talk), await _all_asked(_placed(preferred="south"), talk)
        south = [vendor for vendor in plain if vendor in ("beta", "deep")]
        assert preferred == [*south, *(vendor for vendor in plain if vendor not in south)]


def _equivalent(*model_ids: str, allowed: bool = False, sold: str = "") -> Edit:
    """The model "solo" of acme, which others may stand in for; "undrained" is one of rude's."""

    def edit(models: dict[str, registry.Model], offerings: dict[str, registry.Offering]) -> None:
        models["solo"].equivalent_model_ids.extend(model_ids)
        offerings["plan"].equivalent_models = allowed
        offerings["plan"].model_ids.extend(sold.split())

    return edit


async def _failing(scene: Scene, head: str = "model=solo", word: str = "") -> CallClient:
    scene.vendors.answers(VendorFailure("refused", 500))
    _answers(scene, "rude")
    return await scene.call(head, headers={FALLBACK: word} if word else {})


@BOTH
@pytest.mark.parametrize(("allowed", "word", "is_answered"), [
    (False, "", False), (True, "", True), (False, "equivalent", True), (True, "none", False),
])  # fmt: skip
async def test_an_equivalent_model_answers_where_the_subscriber_allows_it(
    stream: str, allowed: bool, word: str, is_answered: bool
) -> None:
    scene = _scene(_equivalent("undrained", allowed=allowed))
    client = await _failing(scene, f"model=solo stream={stream}", word)
    if not is_answered:
        assert (client.status, _asked(scene)) == (502, ["acme"])
        return
    assert (client.status, client.header("x-tokenline-model")) == (200, "undrained")
    assert b"hello" in client.body
    # One session, of the model that was asked for, at its tariff; its attempts name who has answered.
    assert [create.model_id for create in scene.charging.creates] == ["solo"]
    assert scene.attempts == [("acme", "refused", 500), ("rude", "answered", 200)]
    assert scene.charging.release_message.attempts[1].vendor_model_id == "rude-undrained"
    assert (scene.used, scene.cause) == ((3, 0, 0, 2, 0), "normal")


async def test_an_equivalent_model_is_told_the_limit_of_the_one_that_was_asked_for() -> None:
    def makes_less(models: dict[str, registry.Model], offerings: dict[str, registry.Offering]) -> None:
        _equivalent("undrained", allowed=True)(models, offerings)
        models["solo"].max_output_tokens = 500

    scene = _scene(makes_less)
    await _failing(scene)
    # The model itself stops there; the other one could make more than is reserved.
    assert [asked.options.get("limit") for asked in scene.vendors.asked] == [None, "500"]


async def test_a_minted_key_has_no_equivalents_since_its_models_may_be_fewer() -> None:
    scene = _scene(_equivalent("undrained", allowed=True))
    scene.principals.principal = scene.principals.principal._replace(is_minted=True)
    client = await _failing(scene, word="equivalent")
    assert (client.status, _asked(scene)) == (502, ["acme"])


async def test_the_model_that_was_asked_for_is_not_named() -> None:
    scene = _scene(_equivalent("undrained", allowed=True))
    _answers(scene, "acme")
    assert (await scene.call("model=solo")).header("x-tokenline-model") is None


async def test_another_word_of_the_header_is_refused_before_anything_is_reserved() -> None:
    scene = _scene(_equivalent("undrained"))
    client = await scene.call("model=solo", headers={FALLBACK: "yes"})
    assert client.status == 400
    assert b"x-tokenline-fallback must be equivalent, or none, or left out" in client.body
    assert scene.charging.creates == []


async def test_an_equivalent_model_that_the_offering_does_not_include_does_not_answer() -> None:
    scene = _scene(_equivalent("undrained", allowed=True, sold="solo pair"))
    assert (await _failing(scene)).status == 502
    assert _asked(scene) == ["acme"]


async def test_a_dedicated_route_of_an_equivalent_model_is_not_sold() -> None:
    def edit(models: dict[str, registry.Model], offerings: dict[str, registry.Offering]) -> None:
        _equivalent("undrained", allowed=True)(models, offerings)
        models["undrained"].routes[0].offering_ids.append("line")

    scene = _scene(edit)
    assert (await _failing(scene)).status == 502
    assert _asked(scene) == ["acme"]


async def test_an_equivalent_model_answers_at_once_where_no_route_of_the_model_may_be_called() -> None:
    scene = _scene(_equivalent("undrained", allowed=True))
    scene.vendors.answers(VendorFailure("refused", 429, retry_after_ms=60_000))
    _answers(scene, "rude", "rude")
    for _ in range(2):
        assert (await scene.call("model=solo")).status == 200
        scene.charging.forget()
    assert _asked(scene) == ["acme", "rude", "rude"]
    # Where none is allowed the client is told to wait, and nothing is charged.
    client = await scene.call("model=solo", headers={FALLBACK: "none"})
    assert (client.status, client.header("retry-after")) == (503, "60")
    assert scene.cause == "rejected"


async def test_an_equivalent_model_is_told_the_limit_that_was_reserved() -> None:
    scene = _scene(_equivalent("undrained", allowed=True))
    await _failing(scene)
    assert [asked.options.get("limit") for asked in scene.vendors.asked] == [None, str(OUTPUT_TOKENS)]


async def test_a_route_whose_output_is_not_seen_stands_in_for_none_that_is() -> None:
    scene = _scene(_equivalent("whole", allowed=True))
    scene.vendors.answers(VendorFailure("refused", 500))
    assert (await scene.call("model=solo limit=5000")).status == 502
    assert _asked(scene) == ["acme"]
