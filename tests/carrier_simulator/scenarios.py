"""The scenarios of CAMARA's features for carrier billing, carried over: each by its own name, as requests and what they must get.

Source: camaraproject/CarrierBillingCheckOut, code/Test_definitions, release r3.2, commit
5adfde0301043a87aa5a36fb1cf6cc1d7f1abfe3, Apache-2.0. Where a feature and its document say different things, the document counts;
those are the scenarios of `OTHERWISE`.
"""

from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any, Final

from services.carrier_simulator.behaviour import Behaviour
from services.carrier_simulator.listing import rfc3339
from services.carrier_simulator.tokens import SCOPES
from tests.carrier_simulator.world import DAY_US, LINE, OPERATION_IDS, OPERATIONS, World, changed, without

Scenario = Callable[[World], Awaitable[None]]
SCENARIOS: Final[dict[str, Scenario]] = {}
# Codes that a feature expects and its document does not have.
OTHERWISE: Final = {
    "422.01_phoneNumber_required": "MISSING_IDENTIFIER, and not CARRIER_BILLING.PHONE_NUMBER_REQUIRED",
    "422.02_accumulated_threshold_amount_overpassed": "USER_AMOUNT_THRESHOLD_OVERPASSED, and not AMOUNT_THRESHOLD_OVERPASSED",
    "400.02_out_of_range": "OUT_OF_RANGE, without the name of the API",
    "phoneNumber_three_legged": "the phone number stands in the token alone; beside it, it is refused as C02.03 has it",
}
_CREATING: Final = ("create_payment", "prepare_payment")
_SECOND: Final = ("confirm_payment", "cancel_payment")
_CREATED: Final = {"create_payment": "PaymentCreated", "prepare_payment": "BodyAmountReservationTransactionForReserve"}
_CHARGED: Final = "$.amountTransaction.paymentAmount.chargingInformation"
_UNKNOWN: Final = "+8613800000404"


def scenario(*names: str, of: Iterable[str] = ("",)) -> Callable[[Callable[..., Awaitable[None]]], Callable[..., Awaitable[None]]]:
    """Registers a scenario under names, each of which begins with an operation if `of` has some; then that is its argument."""

    def register(run: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
        for operation in of:
            for name in names:
                whole = f"{operation}_{name}" if operation else name
                assert whole not in SCENARIOS
                SCENARIOS[whole] = partial(run, operation) if operation else run
        return run

    return register


# Scenarios of every operation


@scenario("401.01_no_authorization_header", of=OPERATIONS)
async def no_authorization_header(operation: str, world: World) -> None:
    (await world.call(operation, token=None)).refuses(401, "UNAUTHENTICATED")


SCENARIOS["validate_payment_01_generic_success_scenario_payment_401.01_no_authorization_header"] = SCENARIOS.pop(
    "validate_payment_401.01_no_authorization_header"
)


@scenario("401.02_expired_access_token", of=OPERATIONS)
async def expired_access_token(operation: str, world: World) -> None:
    (await world.call(operation, token=world.token(lives_s=0))).refuses(401, "UNAUTHENTICATED")


@scenario("401.03_invalid_access_token", of=OPERATIONS)
async def invalid_access_token(operation: str, world: World) -> None:
    reply = await world.call(operation, token="nobodys")
    reply.refuses(401, "UNAUTHENTICATED")
    assert reply.headers["content-type"] == "application/json"


@scenario("403.01_invalid_token_permissions", of=OPERATIONS)
async def invalid_token_permissions(operation: str, world: World) -> None:
    token = world.token(without=OPERATIONS[operation][2])
    (await world.call(operation, token=token)).refuses(403, "PERMISSION_DENIED")


@scenario("429.01_Too_Many_Requests", of=OPERATIONS)
async def too_many_requests(operation: str, world: World) -> None:
    body, payment, refund = await world.default(operation)
    limit = Behaviour(operation=OPERATION_IDS[operation], status=429, code="TOO_MANY_REQUESTS", retry_after_s=1)
    world.simulator.behaviours.add(limit)
    reply = await world.call(operation, body, payment=payment or "any", refund=refund)
    reply.refuses(429, "TOO_MANY_REQUESTS")


async def invalid_x_correlator(operation: str, world: World) -> None:
    (await world.call(operation, correlator="no spaces, please")).refuses(400, "INVALID_ARGUMENT")


for _operation, _number in {
    **dict.fromkeys(_CREATING, "400.09"),
    **dict.fromkeys(_SECOND, "400.03"),
    "validate_payment": "400.07",
    "retrieve_payment": "400.01",
    "retrieve_payments": "400.04",
    "create_refund": "400.09",
    "retrieve_refund": "400.01",
    "retrieve_refunds": "400.04",
    "retrieve_payment_remaining_amount": "400.01",
}.items():
    scenario(f"{_number}_invalid_x-correlator", of=[_operation])(invalid_x_correlator)


@scenario("400.01_no_request_body", of=(*_CREATING, *_SECOND, "validate_payment", "create_refund"))
async def no_request_body(operation: str, world: World) -> None:
    (await world.call(operation, None)).refuses(400, "INVALID_ARGUMENT")


@scenario("400.02_empty_request_body", of=(*_CREATING, *_SECOND, "validate_payment", "create_refund"))
async def empty_request_body(operation: str, world: World) -> None:
    (await world.call(operation, {})).refuses(400, "INVALID_ARGUMENT")


@scenario("404.01_payment_not_found", of=(*_SECOND, "validate_payment", "retrieve_payment", "create_refund", "retrieve_refund"))
@scenario("404.01_payment_not_found", of=["retrieve_payment_remaining_amount"])
async def payment_not_found(operation: str, world: World) -> None:
    body, _, refund = await world.default(operation)
    (await world.call(operation, body, payment="pay-of-nobody", refund=refund)).refuses(404, "NOT_FOUND")


# createPayment and preparePayment


async def _created(operation: str, world: World, body: Any, token: str = "") -> Any:
    return (await world.call(operation, body, token=token)).complies(201, _CREATED[operation])


@scenario("01_generic_success_scenario", of=_CREATING)
async def a_payment_is_created(operation: str, world: World) -> None:
    await _created(operation, world, world.payment_body())


@scenario("02_generic_success_scenario_with_sink_information", of=_CREATING)
async def a_payment_with_a_sink(operation: str, world: World) -> None:
    body = {**world.payment_body(), "sink": "https://endpoint.example.com/sink"}
    assert (await _created(operation, world, body))["sink"] == body["sink"]


_CREDENTIAL: Final = {
    "credentialType": "ACCESSTOKEN",
    "accessToken": "abc",
    "accessTokenExpiresUtc": "2030-01-01T00:00:00Z",
    "accessTokenType": "bearer",
}


@scenario("03_generic_success_scenario_with_sink_and_sinkCredential_information", of=_CREATING)
async def a_payment_with_a_sink_and_its_credential(operation: str, world: World) -> None:
    body = {**world.payment_body(), "sink": "https://endpoint.example.com/sink", "sinkCredential": _CREDENTIAL}
    assert "sinkCredential" not in await _created(operation, world, body)


@scenario("04_amountTransaction_gross_amount", of=_CREATING)
async def a_gross_amount(operation: str, world: World) -> None:
    body = changed(world.payment_body(), f"{_CHARGED}.isTaxIncluded", True)
    told = await _created(operation, world, body)
    assert told["amountTransaction"]["paymentAmount"]["chargingInformation"]["isTaxIncluded"] is True


@scenario("05_amountTransaction_net_amount", of=_CREATING)
async def a_net_amount(operation: str, world: World) -> None:
    told = await _created(operation, world, world.payment_body())
    assert not told["amountTransaction"]["paymentAmount"]["chargingInformation"].get("isTaxIncluded", False)


@scenario("06_amountTransaction_taxAmount", of=_CREATING)
async def a_tax_amount(operation: str, world: World) -> None:
    body = changed(world.payment_body(), f"{_CHARGED}.taxAmount", 1.125)
    told = await _created(operation, world, body)
    assert told["amountTransaction"]["paymentAmount"]["chargingInformation"]["taxAmount"] == 1.125


@scenario("07_amountTransaction_merchantIdentifier", of=_CREATING)
async def a_merchant(operation: str, world: World) -> None:
    body = changed(world.payment_body(), "$.amountTransaction.paymentAmount.chargingMetaData.merchantIdentifier", "eas-12345")
    told = await _created(operation, world, body)
    assert told["amountTransaction"]["paymentAmount"]["chargingMetaData"]["merchantIdentifier"] == "eas-12345"


_ITEM: Final = {"id": "3goug3uvu32v3b", "amount": 9.9, "currency": "CNY", "description": "A pack"}


@scenario("08_amountTransaction_paymentDetails", of=_CREATING)
async def payment_details(operation: str, world: World) -> None:
    body = changed(world.payment_body(), "$.amountTransaction.paymentAmount.paymentDetails", [_ITEM])
    assert (await _created(operation, world, body))["amountTransaction"]["paymentAmount"]["paymentDetails"] == [_ITEM]


@scenario("09_amountTransaction_clientCorrelator", of=_CREATING)
async def a_client_correlator(operation: str, world: World) -> None:
    told = await _created(operation, world, world.payment_body(clientCorrelator="req-9"))
    assert told["amountTransaction"]["clientCorrelator"] == "req-9"


@scenario("10_amountTransaction_phoneNumber_three_legged", of=_CREATING)
async def the_line_of_the_token(operation: str, world: World) -> None:
    body = world.payment_body(phoneNumber=None)
    told = await _created(operation, world, body, world.token(line=LINE))
    assert told["amountTransaction"]["phoneNumber"] == LINE


@scenario("11_amountTransaction_phoneNumber_two_legged", of=_CREATING)
async def the_line_of_the_body(operation: str, world: World) -> None:
    told = await _created(operation, world, world.payment_body())
    assert told["amountTransaction"]["phoneNumber"] == LINE


@scenario("create_payment_12_sync_behaviour")
async def a_payment_at_once(world: World) -> None:
    assert (await _created("create_payment", world, world.payment_body()))["paymentStatus"] == "succeeded"


@scenario("create_payment_13_async_behaviour", "prepare_payment_14_async_behaviour")
async def a_payment_that_is_done_later(world: World) -> None:
    for operation, end in (("create_payment", "succeeded"), ("prepare_payment", "reserved")):
        told = await _created(operation, world, world.payment_body("+8613800000202"))
        assert told["paymentStatus"] == "processing"
        seen = [(await world.call("retrieve_payment", None, payment=told["paymentId"])).json["paymentStatus"] for _ in range(2)]
        assert seen == ["processing", end]


@scenario("prepare_payment_12_sync_behaviour_without_validation_info")
async def a_reservation_at_once(world: World) -> None:
    told = await _created("prepare_payment", world, world.payment_body())
    assert told["paymentStatus"] == "reserved"
    assert "validationInfo" not in told


@scenario("prepare_payment_13_sync_behaviour_with_validation_info")
async def a_reservation_that_needs_a_code(world: World) -> None:
    told = await _created("prepare_payment", world, world.payment_body("+8613800000123"))
    assert told["paymentStatus"] == "pending_validation"
    assert told["validationInfo"]["action"] == "validate"


@scenario("400.03_other_input_properties_schema_not_compliant", of=_CREATING)
async def a_wrong_sink_or_credential(operation: str, world: World) -> None:
    for wrong in ({"sink": 5}, {"sinkCredential": {"credentialType": "NONE"}}, {"sinkCredential": "abc"}):
        (await world.call(operation, {**world.payment_body(), **wrong})).refuses(400, "INVALID_ARGUMENT")


@scenario("400.04_required_input_properties_missing", of=_CREATING)
async def a_payment_without_what_it_needs(operation: str, world: World) -> None:
    for path in (
        *("$.amountTransaction", "$.amountTransaction.paymentAmount", "$.amountTransaction.referenceCode"),
        *(_CHARGED, f"{_CHARGED}.amount", f"{_CHARGED}.currency", f"{_CHARGED}.description"),
    ):
        (await world.call(operation, without(world.payment_body(), path))).refuses(400, "INVALID_ARGUMENT")


@scenario("400.05_clientCorrelator_in_use", of=_CREATING)
async def a_correlator_that_is_in_use(operation: str, world: World) -> None:
    await _created(operation, world, world.payment_body("+8613800000202", clientCorrelator="twice"))
    (await world.call(operation, world.payment_body(clientCorrelator="twice"))).refuses(400, "INVALID_ARGUMENT")


@scenario("400.06_invalid_sink", of=(*_CREATING, "create_refund"))
async def a_sink_that_is_no_address(operation: str, world: World) -> None:
    body, payment, _ = await world.default(operation)
    for sink in ("no address", "http://endpoint.example.com/sink"):
        (await world.call(operation, {**body, "sink": sink}, payment=payment)).refuses(400, "INVALID_SINK")


@scenario("400.07_invalid_sinkCredential", of=(*_CREATING, "create_refund"))
async def a_credential_of_another_kind(operation: str, world: World) -> None:
    body, payment, _ = await world.default(operation)
    body["sinkCredential"] = {**_CREDENTIAL, "credentialType": "PLAIN"}
    (await world.call(operation, body, payment=payment)).refuses(400, "INVALID_CREDENTIAL")


@scenario("400.08_invalid_sinkCredential_Acccestoken", of=(*_CREATING, "create_refund"))
async def a_token_of_another_kind(operation: str, world: World) -> None:
    body, payment, _ = await world.default(operation)
    body["sinkCredential"] = {**_CREDENTIAL, "accessTokenType": "mac"}
    (await world.call(operation, body, payment=payment)).refuses(400, "INVALID_TOKEN")


@scenario("C02.01_phone_number_not_schema_compliant", of=_CREATING)
async def no_phone_number(operation: str, world: World) -> None:
    for line in ("13800000001", "+0123456", "+86 138", ""):
        (await world.call(operation, world.payment_body(line))).refuses(400, "INVALID_ARGUMENT")


@scenario("403.02_payment_denied", of=_CREATING)
async def a_line_that_may_not_pay(operation: str, world: World) -> None:
    (await world.call(operation, world.payment_body("+8613800000403"))).refuses(403, "CARRIER_BILLING.PAYMENT_DENIED")


@scenario("C02.02_phone_number_not_found", of=_CREATING)
async def a_line_of_nobody(operation: str, world: World) -> None:
    (await world.call(operation, world.payment_body(_UNKNOWN))).refuses(404, "IDENTIFIER_NOT_FOUND")


@scenario("409.01_payment_duplicated", of=_CREATING)
async def a_reference_that_was_used(operation: str, world: World) -> None:
    body = world.payment_body(clientCorrelator=None, referenceCode="twice")
    await _created(operation, world, body)
    (await world.call(operation, body)).refuses(409, "ALREADY_EXISTS")


@scenario("422.01_phoneNumber_required", "C02.04_missing_phone_number", of=_CREATING)
async def a_payment_of_no_line(operation: str, world: World) -> None:
    (await world.call(operation, world.payment_body(phoneNumber=None))).refuses(422, "MISSING_IDENTIFIER")


@scenario("422.02_unauthorized_amount", of=_CREATING)
async def too_large_a_payment(operation: str, world: World) -> None:
    body = world.payment_body(amount=1000.001)
    (await world.call(operation, body)).refuses(422, "CARRIER_BILLING.UNAUTHORIZED_AMOUNT")


@scenario("422.02_accumulated_threshold_amount_overpassed", of=_CREATING)
async def too_many_payments(operation: str, world: World) -> None:
    for _ in range(5):
        await _created(operation, world, world.payment_body(amount=1000))
    reply = await world.call(operation, world.payment_body(amount=0.001))
    reply.refuses(422, "CARRIER_BILLING.USER_AMOUNT_THRESHOLD_OVERPASSED")


@scenario("C02.03_unnecessary_phone_number", of=_CREATING)
async def a_line_beside_that_of_the_token(operation: str, world: World) -> None:
    reply = await world.call(operation, world.payment_body(), token=world.token(line=LINE))
    reply.refuses(422, "UNNECESSARY_IDENTIFIER")


@scenario("C02.05_phone_number_not_supported", of=_CREATING)
async def a_line_without_the_service(operation: str, world: World) -> None:
    (await world.call(operation, world.payment_body("+8613800000422"))).refuses(422, "SERVICE_NOT_APPLICABLE")


# validatePayment


@scenario("validate_payment_01_generic_success_scenario")
async def the_right_code(world: World) -> None:
    body, payment, _ = await world.default("validate_payment")
    assert (await world.call("validate_payment", body, payment=payment)).status == 204
    assert (await world.call("retrieve_payment", None, payment=payment)).json["paymentStatus"] == "reserved"
    (await world.call("validate_payment", body, payment=payment)).refuses(409, "ALREADY_EXISTS")


@scenario("validate_payment_400.03_required_input_properties_missing")
async def a_validation_without_what_it_needs(world: World) -> None:
    body, payment, _ = await world.default("validate_payment")
    for path in ("$.authorizationId", "$.code"):
        (await world.call("validate_payment", without(body, path), payment=payment)).refuses(400, "INVALID_ARGUMENT")


@scenario("validate_payment_400.04_invalid_authorizationId")
async def another_authorization(world: World) -> None:
    body, payment, _ = await world.default("validate_payment")
    reply = await world.call("validate_payment", {**body, "authorizationId": "another"}, payment=payment)
    reply.refuses(400, "CARRIER_BILLING.INVALID_AUTHORIZATION_ID")


@scenario("validate_payment_400.05_invalid_code", "validate_payment_400.06_exceeding_validation_attempts")
async def wrong_codes(world: World) -> None:
    body, payment, _ = await world.default("validate_payment")
    wrong = {**body, "code": "000000"}
    for _ in range(2):
        (await world.call("validate_payment", wrong, payment=payment)).refuses(400, "CARRIER_BILLING.INVALID_CODE")
    for _ in range(3):
        (await world.call("validate_payment", wrong, payment=payment)).refuses(400, "CARRIER_BILLING.VALIDATION_FAILED")
    assert (await world.call("retrieve_payment", None, payment=payment)).json["paymentStatus"] == "denied"


# confirmPayment and cancelPayment

_ENDS: Final = {"confirm_payment": "succeeded", "cancel_payment": "cancelled"}


@scenario("01_generic_success_scenario", "03_phoneNumber_two_legged", of=_SECOND)
async def a_second_step(operation: str, world: World) -> None:
    body, payment, _ = await world.default(operation)
    assert (await world.call(operation, body, payment=payment)).status == 202
    assert (await world.call("retrieve_payment", None, payment=payment)).json["paymentStatus"] == _ENDS[operation]


@scenario("02_phoneNumber_three_legged", of=_SECOND)
async def a_second_step_of_the_tokens_line(operation: str, world: World) -> None:
    payment = await world.reserved()
    assert (await world.call(operation, {}, payment=payment, token=world.token(line=LINE))).status == 202


@scenario("C02.01_phone_number_not_schema_compliant", of=_SECOND)
async def a_second_step_of_no_phone_number(operation: str, world: World) -> None:
    (await world.call(operation, {"phoneNumber": "138"})).refuses(400, "INVALID_ARGUMENT")


@scenario("confirm_payment_403.02_payment_denied")
async def a_payment_that_was_denied(world: World) -> None:
    payment = await world.reserved("+8613800000402")
    for _ in range(2):
        await world.call("retrieve_payment", None, payment=payment)
    reply = await world.call("confirm_payment", {"phoneNumber": "+8613800000402"}, payment=payment)
    reply.refuses(403, "CARRIER_BILLING.PAYMENT_DENIED")


@scenario("C02.02_phone_number_not_found", of=_SECOND)
async def a_second_step_of_another_line(operation: str, world: World) -> None:
    for line in (_UNKNOWN, "+8613800000002"):
        (await world.call(operation, {"phoneNumber": line})).refuses(404, "IDENTIFIER_NOT_FOUND")


@scenario("409.01_payment_confirmed", of=_SECOND)
async def a_second_step_after_a_confirmation(operation: str, world: World) -> None:
    payment = await world.reserved()
    await world.call("confirm_payment", {"phoneNumber": LINE}, payment=payment)
    reply = await world.call(operation, {"phoneNumber": LINE}, payment=payment)
    reply.refuses(409, "CARRIER_BILLING.PAYMENT_CONFIRMED")


@scenario("409.02_payment_cancelled", of=_SECOND)
async def a_second_step_after_a_cancellation(operation: str, world: World) -> None:
    payment = await world.reserved()
    await world.call("cancel_payment", {"phoneNumber": LINE}, payment=payment)
    reply = await world.call(operation, {"phoneNumber": LINE}, payment=payment)
    reply.refuses(409, "CARRIER_BILLING.PAYMENT_CANCELLED")


@scenario("422.01_phoneNumber_required", "C02.04_missing_phone_number", of=_SECOND)
async def a_second_step_of_no_line(operation: str, world: World) -> None:
    (await world.call(operation, {"description": "no line"})).refuses(422, "MISSING_IDENTIFIER")


@scenario("C02.03_unnecessary_phone_number", of=_SECOND)
async def a_second_step_with_two_lines(operation: str, world: World) -> None:
    reply = await world.call(operation, {"phoneNumber": LINE}, token=world.token(line=LINE))
    reply.refuses(422, "UNNECESSARY_IDENTIFIER")


@scenario("C02.05_phone_number_not_supported", of=_SECOND)
async def a_second_step_without_the_service(operation: str, world: World) -> None:
    (await world.call(operation, {"phoneNumber": "+8613800000422"})).refuses(422, "SERVICE_NOT_APPLICABLE")


# retrievePayment and retrievePayments


@scenario("retrieve_payment_01_generic_success_scenario")
async def a_payment_as_it_is(world: World) -> None:
    for payment in (await world.paid(), await world.reserved()):
        told = (await world.call("retrieve_payment", None, payment=payment)).complies(200, "Payment")
        assert told["paymentId"] == payment


_LISTS: Final = {
    "retrieve_payments": ("Payment", "carrier-billing"),
    "retrieve_refunds": ("Refund", "carrier-billing-refund"),
}


async def _listed(operation: str, world: World, query: str = "", payment: str = "any", token: str = "") -> list[Any]:
    schema, document = _LISTS[operation]
    reply = await world.call(operation, None, payment=payment, query=query, token=token)
    found: list[Any] = reply.complies(200, f"{schema}Array", document)
    assert int(reply.headers["x-total-count"]) >= len(found)
    return found


async def _several(operation: str, world: World) -> tuple[str, list[str]]:
    """Six payments, or refunds of a payment: two of them 40 days old, two 10 days, two of now. Newest last."""
    world.clock.time_us -= 40 * DAY_US
    payment = await world.paid(amount=600)
    made = []
    for _ in range(6):
        made.append(await world.paid(amount=10) if operation == "retrieve_payments" else await world.refunded(payment, 10))
        world.clock.time_us += 30 * DAY_US if len(made) == 2 else 10 * DAY_US if len(made) == 4 else 1_000
    return payment, made if operation == "retrieve_refunds" else [payment, *made]


def _names(operation: str) -> tuple[str, str]:
    word = "payment" if operation == "retrieve_payments" else "refund"
    return word, f"{word}Id"


@scenario("01_generic_success_scenario", of=_LISTS)
async def a_list(operation: str, world: World) -> None:
    payment, made = await _several(operation, world)
    assert len(await _listed(operation, world, payment=payment)) == len(made)


@scenario("retrieve_payments_02_no_payments")
async def no_payments(world: World) -> None:
    assert await _listed("retrieve_payments", world) == []


@scenario("retrieve_refunds_02_no_refunds")
async def no_refunds(world: World) -> None:
    assert await _listed("retrieve_refunds", world, payment=await world.paid()) == []


@scenario("retrieve_payments_03_for_phoneNumber")
async def payments_of_a_line(world: World) -> None:
    await world.paid("+8613800000002")
    payment = await world.paid()
    assert [each["paymentId"] for each in await _listed("retrieve_payments", world, token=world.token(line=LINE))] == [payment]


@scenario("retrieve_refunds_03_for_phoneNumber")
async def refunds_of_a_line(world: World) -> None:
    payment = await world.paid()
    refund = await world.refunded(payment)
    found = await _listed("retrieve_refunds", world, payment=payment, token=world.token(line=LINE))
    assert [each["refundId"] for each in found] == [refund]
    reply = await world.call("retrieve_refunds", None, payment=payment, token=world.token(line="+8613800000002"))
    reply.refuses(404, "NOT_FOUND")


@scenario("retrieve_payments_04_for_application")
async def payments_of_a_client(world: World) -> None:
    await world.paid(client="another")
    payment = await world.paid()
    assert [each["paymentId"] for each in await _listed("retrieve_payments", world)] == [payment]


@scenario("retrieve_refunds_04_for_application")
async def refunds_of_a_client(world: World) -> None:
    payment = await world.paid()
    await world.refunded(payment)
    another = world.simulator.tokens.issue("another", SCOPES)
    (await world.call("retrieve_refunds", None, payment=payment, token=another)).refuses(404, "NOT_FOUND")


@scenario("05_start_creationDate", "06_end_creationDate", "07_date_range", of=_LISTS)
async def a_list_of_a_time(operation: str, world: World) -> None:
    payment, made = await _several(operation, world)
    word, name = _names(operation)
    middle = rfc3339(world.clock.time_us - 20 * DAY_US)
    late = rfc3339(world.clock.time_us - 5 * DAY_US)
    old, young, recent = made[:-4], made[-4:], made[-2:]
    for query, wanted in (
        (f"?{word}CreationDate.gte={middle}", young),
        (f"?{word}CreationDate.lte={middle}", old),
        (f"?{word}CreationDate.gte={middle}&{word}CreationDate.lte={late}", [each for each in young if each not in recent]),
    ):
        found = [each[name] for each in await _listed(operation, world, query, payment)]
        assert sorted(found) == sorted(wanted), query


@scenario("08_ordering", of=_LISTS)
async def a_list_in_order(operation: str, world: World) -> None:
    payment, made = await _several(operation, world)
    _, name = _names(operation)
    assert [each[name] for each in await _listed(operation, world, "?order=asc", payment)] == made
    for query in ("?order=desc", ""):
        assert [each[name] for each in await _listed(operation, world, query, payment)] == made[::-1]


@scenario("retrieve_payments_09_payment_status")
async def payments_of_a_status(world: World) -> None:
    await world.paid()
    await world.reserved()
    await world.reserved("+8613800000123")
    await world.call("cancel_payment")
    denied = await world.paid("+8613800000402")
    for _ in range(2):
        await world.call("retrieve_payment", None, payment=denied)
    await world.paid("+8613800000202")
    for status in ("processing", "pending_validation", "denied", "reserved", "succeeded", "cancelled"):
        found = await _listed("retrieve_payments", world, f"?paymentStatus={status}")
        assert {each["paymentStatus"] for each in found} == {status}


@scenario("retrieve_refunds_09_refund_status")
async def refunds_of_a_status(world: World) -> None:
    for line, status, looks in (("+8613800000202", "processing", 2), ("+8613800000407", "denied", 0), (LINE, "succeeded", 0)):
        payment = await world.paid(line)
        for _ in range(looks):
            await world.call("retrieve_payment", None, payment=payment)
        refund = await world.refunded(payment)
        for _ in range(2 if status == "denied" else 0):
            await world.call("retrieve_refund", None, payment=payment, refund=refund)
        found = await _listed("retrieve_refunds", world, f"?refundStatus={status}", payment)
        assert [each["refundStatus"] for each in found] == [status]
        assert (
            await _listed("retrieve_refunds", world, f"?refundStatus={'succeeded' if status == 'denied' else 'denied'}", payment)
            == []
        )


@scenario("retrieve_payments_10_merchantIdentifier")
async def payments_of_a_merchant(world: World) -> None:
    await world.paid()
    body = changed(world.payment_body(), "$.amountTransaction.paymentAmount.chargingMetaData.merchantIdentifier", "eas-12345")
    payment = (await world.call("create_payment", body)).json["paymentId"]
    found = await _listed("retrieve_payments", world, "?merchantIdentifier=eas-12345")
    assert [each["paymentId"] for each in found] == [payment]


@scenario("retrieve_refunds_10_merchantIdentifier")
async def refunds_of_a_merchant(world: World) -> None:
    payment = await world.paid()
    await world.refunded(payment, 1)
    body = changed(world.refund_body(2), "$.amountTransaction.refundAmount.chargingMetaData.merchantIdentifier", "eas-12345")
    refund = (await world.call("create_refund", body, payment=payment)).json["refundId"]
    found = await _listed("retrieve_refunds", world, "?merchantIdentifier=eas-12345", payment)
    assert [each["refundId"] for each in found] == [refund]


@scenario("11_pagination", of=_LISTS)
async def pages(operation: str, world: World) -> None:
    payment, made = await _several(operation, world)
    _, name = _names(operation)
    first = await _listed(operation, world, "?page=1&perPage=5", payment)
    second = await _listed(operation, world, "?page=2&perPage=5", payment)
    assert len(first) == 5
    assert [each[name] for each in [*first, *second]] == made[::-1]


@scenario("400.01_invalid_date_range", of=_LISTS)
async def a_time_that_ends_before_it_begins(operation: str, world: World) -> None:
    payment, _ = await _several(operation, world)
    word, _ = _names(operation)
    api = "CARRIER_BILLING" if word == "payment" else "CARRIER_BILLING_REFUND"
    now, week, month = (rfc3339(world.clock.time_us - days * DAY_US) for days in (0, 7, 30))
    for begin, end in ((now, week), (week, month)):
        query = f"?{word}CreationDate.gte={begin}&{word}CreationDate.lte={end}"
        (await world.call(operation, None, payment=payment, query=query)).refuses(400, f"{api}.INVALID_DATE_RANGE")


@scenario("400.02_out_of_range", of=_LISTS)
async def a_page_beyond_the_end(operation: str, world: World) -> None:
    payment, _ = await _several(operation, world)
    (await world.call(operation, None, payment=payment, query="?page=1000&perPage=1000")).refuses(400, "OUT_OF_RANGE")


@scenario("retrieve_payments_400.03_too_many_matching_records")
async def too_many_payments_to_list(world: World) -> None:
    payment = world.simulator.ledger.find(world.simulator.tokens.of(f"Bearer {world.token()}"), await world.paid(amount=0.001))
    world.simulator.ledger.payments += [payment] * 500
    reply = await world.call("retrieve_payments", None, query="?page=1&perPage=1000")
    reply.refuses(400, "CARRIER_BILLING.TOO_MANY_MATCHING_RECORDS")


@scenario("retrieve_refunds_400.03_too_many_matching_records")
async def too_many_refunds_to_list(world: World) -> None:
    payment = await world.paid(amount=1)
    await world.refunded(payment, 0.001)
    refunds = world.simulator.ledger.payments[0].refunds
    refunds += refunds * 500
    reply = await world.call("retrieve_refunds", None, payment=payment, query="?page=1&perPage=1000")
    reply.refuses(400, "CARRIER_BILLING_REFUND.TOO_MANY_MATCHING_RECORDS")


# createRefund

_PART: Final = "$.amountTransaction.refundAmount.chargingInformation"


async def _refund(world: World, body: Any, line: str = LINE, **transaction: Any) -> Any:
    payment = await world.paid(line, **transaction)
    reply = await world.call("create_refund", body, payment=payment)
    kind = "TotalRefund" if body["type"] == "total" else "PartialRefund"
    return reply.complies(201, kind, "carrier-billing-refund")


@scenario("create_refund_01_generic_success_scenario", "create_refund_11_sync_behaviour")
async def a_refund_at_once(world: World) -> None:
    for body in (world.refund_body(), world.refund_body(2.5)):
        assert (await _refund(world, body))["refundStatus"] == "succeeded"


@scenario("create_refund_02_generic_success_scenario_with_sink_information")
async def a_refund_with_a_sink(world: World) -> None:
    body = {**world.refund_body(), "sink": "https://endpoint.example.com/sink"}
    assert (await _refund(world, body))["sink"] == body["sink"]


@scenario("create_refund_03_generic_success_scenario_with_sink_and_sinkCredential_information")
async def a_refund_with_a_sink_and_its_credential(world: World) -> None:
    body = {**world.refund_body(), "sink": "https://endpoint.example.com/sink", "sinkCredential": _CREDENTIAL}
    assert "sinkCredential" not in await _refund(world, body)


@scenario("create_refund_04_total_refund")
async def a_total_refund(world: World) -> None:
    told = await _refund(world, world.refund_body())
    assert (told["type"], told["amountTransaction"]["refundAmount"]) == ("total", {})


@scenario("create_refund_04_partial_refund_amountTransaction_gross_amount")
async def a_gross_refund(world: World) -> None:
    paid = changed(world.payment_body(), f"{_CHARGED}.isTaxIncluded", True)
    payment = (await world.call("create_payment", paid)).json["paymentId"]
    body = changed(world.refund_body(1), f"{_PART}.isTaxIncluded", True)
    told = (await world.call("create_refund", body, payment=payment)).complies(201, "PartialRefund", "carrier-billing-refund")
    assert told["amountTransaction"]["refundAmount"]["chargingInformation"]["isTaxIncluded"] is True


@scenario("create_refund_05_partial_refund_amountTransaction_net_amount")
async def a_net_refund(world: World) -> None:
    told = await _refund(world, world.refund_body(1))
    assert not told["amountTransaction"]["refundAmount"]["chargingInformation"].get("isTaxIncluded", False)


@scenario("create_refund_06_partial_refund_amountTransaction_taxAmount")
async def a_refund_with_tax(world: World) -> None:
    told = await _refund(world, changed(world.refund_body(1), f"{_PART}.taxAmount", 0.125))
    assert told["amountTransaction"]["refundAmount"]["chargingInformation"]["taxAmount"] == 0.125


@scenario("create_refund_07_amountTransaction_merchantIdentifier")
async def a_refund_of_a_merchant(world: World) -> None:
    body = changed(world.refund_body(), "$.amountTransaction.refundAmount.chargingMetaData.merchantIdentifier", "eas-12345")
    told = await _refund(world, body)
    assert told["amountTransaction"]["refundAmount"]["chargingMetaData"]["merchantIdentifier"] == "eas-12345"


_BACK: Final = {"paymentItemId": _ITEM["id"], "amount": 1, "currency": "CNY", "description": "Back"}


async def _itemised(world: World) -> str:
    body = changed(world.payment_body(), "$.amountTransaction.paymentAmount.paymentDetails", [_ITEM])
    return str((await world.call("create_payment", body)).json["paymentId"])


@scenario("create_refund_08_partial_refund_amountTransaction_refundDetails")
async def refund_details(world: World) -> None:
    body = changed(world.refund_body(1), "$.amountTransaction.refundAmount.refundDetails", [_BACK])
    reply = await world.call("create_refund", body, payment=await _itemised(world))
    told = reply.complies(201, "PartialRefund", "carrier-billing-refund")
    assert told["amountTransaction"]["refundAmount"]["refundDetails"] == [_BACK]


@scenario("create_refund_09_amountTransaction_clientCorrelator")
async def a_refunds_correlator(world: World) -> None:
    told = await _refund(world, world.refund_body(clientCorrelator="req-9"))
    assert told["amountTransaction"]["clientCorrelator"] == "req-9"


@scenario("create_refund_10_reason")
async def a_refunds_reason(world: World) -> None:
    assert (await _refund(world, {**world.refund_body(), "reason": "a broken answer"}))["reason"] == "a broken answer"


@scenario("create_refund_12_async_behaviour")
async def a_refund_that_is_done_later(world: World) -> None:
    payment = await world.paid("+8613800000407")
    reply = await world.call("create_refund", world.refund_body(), payment=payment)
    told = reply.complies(201, "TotalRefund", "carrier-billing-refund")
    assert told["refundStatus"] == "processing"


@scenario("create_refund_400.03_other_input_properties_schema_not_compliant")
async def a_refunds_wrong_sink_or_credential(world: World) -> None:
    for wrong in ({"sink": 5}, {"sinkCredential": {"credentialType": "NONE"}}, {"sinkCredential": "abc"}):
        (await world.call("create_refund", {**world.refund_body(), **wrong})).refuses(400, "INVALID_ARGUMENT")


@scenario("create_refund_400.04_required_input_properties_missing")
async def a_refund_without_what_it_needs(world: World) -> None:
    for path in (
        *("$.type", "$.amountTransaction", "$.amountTransaction.refundAmount", "$.amountTransaction.referenceCode"),
        *(_PART, f"{_PART}.amount"),
    ):
        (await world.call("create_refund", without(world.refund_body(1), path))).refuses(400, "INVALID_ARGUMENT")


@scenario("create_refund_400.05_clientCorrelator_in_use")
async def a_refunds_correlator_that_is_in_use(world: World) -> None:
    payment = await world.paid("+8613800000407")
    await world.refunded(payment, 1, clientCorrelator="twice")
    reply = await world.call("create_refund", world.refund_body(2, clientCorrelator="twice"), payment=payment)
    reply.refuses(400, "INVALID_ARGUMENT")


@scenario("create_refund_403.02_refund_denied")
async def a_refund_that_is_denied(world: World) -> None:
    payment = await world.paid("+8613800000405")
    reply = await world.call("create_refund", world.refund_body(), payment=payment)
    reply.refuses(403, "CARRIER_BILLING_REFUND.REFUND_DENIED")


@scenario("create_refund_403.03_payment_not_eligible_for_refund")
async def a_payment_without_refunds(world: World) -> None:
    payment = await world.paid("+8613800000406")
    reply = await world.call("create_refund", world.refund_body(), payment=payment)
    reply.refuses(403, "CARRIER_BILLING_REFUND.PAYMENT_NOT_ELIGIBLE_FOR_REFUND")


@scenario("create_refund_409.01_refund_duplicated")
async def a_refunds_reference_that_was_used(world: World) -> None:
    payment = await world.paid()
    body = without(world.refund_body(1, referenceCode="twice"), "$.amountTransaction.clientCorrelator")
    assert (await world.call("create_refund", body, payment=payment)).status == 201
    (await world.call("create_refund", body, payment=payment)).refuses(409, "ALREADY_EXISTS")


@scenario("create_refund_422.01_unauthorized_amount")
async def more_than_was_paid(world: World) -> None:
    payment = await world.paid(amount=9.9)
    await world.refunded(payment, 5)
    for body in (world.refund_body(4.901), world.refund_body()):
        reply = await world.call("create_refund", body, payment=payment)
        reply.refuses(422, "CARRIER_BILLING_REFUND.UNAUTHORIZED_AMOUNT")


@scenario("create_refund_422.02_accumulated_threshold_amount_overpassed")
async def too_many_refunds(world: World) -> None:
    for _ in range(3):
        await world.refunded(await world.paid(amount=1000))
    reply = await world.call("create_refund", world.refund_body(0.001), payment=await world.paid())
    reply.refuses(422, "CARRIER_BILLING_REFUND.USER_AMOUNT_THRESHOLD_OVERPASSED")


@scenario("create_refund_422.03_payment_invalid_status")
async def a_refund_of_what_is_not_paid(world: World) -> None:
    for payment in (await world.reserved(), await world.paid("+8613800000202")):
        reply = await world.call("create_refund", world.refund_body(), payment=payment)
        reply.refuses(422, "CARRIER_BILLING_REFUND.INVALID_PAYMENT_STATUS")


@scenario("create_refund_422.04_inconsistent_tax_management")
async def a_gross_refund_of_a_net_payment(world: World) -> None:
    body = changed(world.refund_body(1), f"{_PART}.isTaxIncluded", True)
    (await world.call("create_refund", body)).refuses(422, "CARRIER_BILLING_REFUND.TAXES_MANAGEMENT_MISMATCH")


@scenario("create_refund_422.05_inconsistent_refund_details")
async def refund_details_of_another_item(world: World) -> None:
    wrong = [{**_BACK, "paymentItemId": "another"}]
    body = changed(world.refund_body(1), "$.amountTransaction.refundAmount.refundDetails", wrong)
    reply = await world.call("create_refund", body, payment=await _itemised(world))
    reply.refuses(422, "CARRIER_BILLING_REFUND.REFUND_DETAILS_MISMATCH")


# retrieveRefund and retrievePaymentRemainingAmount


@scenario("retrieve_refund_01_generic_success_scenario")
async def a_refund_as_it_is(world: World) -> None:
    payment = await world.paid()
    refund = await world.refunded(payment)
    reply = await world.call("retrieve_refund", None, payment=payment, refund=refund)
    assert reply.complies(200, "TotalRefund", "carrier-billing-refund")["refundId"] == refund


@scenario("retrieve_refund_404.02_refund_not_found")
async def a_refund_that_nobody_made(world: World) -> None:
    reply = await world.call("retrieve_refund", None, payment=await world.paid(), refund="ref-of-nobody")
    reply.refuses(404, "NOT_FOUND")


async def remaining(line: str, amount: Any, looks: int, left: Any, world: World) -> None:
    """What a refund of `amount` (None: a total one) leaves of 9.9, once somebody has looked at it `looks` times."""
    payment = await world.paid(line)
    for _ in range(2):
        await world.call("retrieve_payment", None, payment=payment)
    refund = await world.refunded(payment, amount) if line else ""
    for _ in range(looks):
        await world.call("retrieve_refund", None, payment=payment, refund=refund)
    reply = await world.call("retrieve_payment_remaining_amount", None, payment=payment)
    told = reply.complies(200, "PaymentRemainingAmount", "carrier-billing-refund")
    assert (told["amount"], told["currency"]) == (left, "CNY")


@scenario("retrieve_payment_remaining_amount_01_generic_success_scenario")
async def all_of_a_payment_remains(world: World) -> None:
    reply = await world.call("retrieve_payment_remaining_amount", None, payment=await world.paid())
    assert reply.complies(200, "PaymentRemainingAmount", "carrier-billing-refund") == {"amount": 9.9, "currency": "CNY"}


for _name, _line, _amount, _looks, _left in (
    ("02_total_refund_in_progress", "+8613800000202", None, 0, 0),
    ("03_total_refund_succeeded", LINE, None, 0, 0),
    ("04_total_refund_denied", "+8613800000407", None, 2, 9.9),
    ("05_partial_refund_in_progress", "+8613800000202", 2.4, 0, 7.5),
    ("06_partial_refund_succeeded", LINE, 2.4, 0, 7.5),
    ("07_partial_refund_denied", "+8613800000407", 2.4, 2, 9.9),
):
    SCENARIOS[f"retrieve_payment_remaining_amount_{_name}"] = partial(remaining, _line, _amount, _looks, _left)
