"""What the base catalog's pack of 400,000 tokens carries on each of its models: the edge's own numbers, accounting's own rules."""

from functools import cache
from random import Random
from typing import Any, Final

import msgspec
import pytest

from services.accounting.core.commands import ConfirmPayment, Granted, Ordered, PlaceOrder
from services.accounting.core.terms import Payment
from services.accounting.rpc.catalog import charging_catalog
from services.accounting.rpc.commands import command_of
from services.edge.call.admission import Admitted, admit
from services.edge.call.dialect import Body, Dialect, Request
from services.edge.catalog import SellableModel, Snapshot
from services.edge.dialects.anthropic_messages.dialect import AnthropicMessages
from services.edge.dialects.chat.dialect import ChatCompletions
from services.edge.identity.principals import Principal
from services.edge.routing.router import Router
from services.edge.tokens.tokenizers import TOKENIZER_NAMES, load
from services.registry.catalog_folder import base_catalog_folder, load_catalog
from tests.accounting.ledger import ACCOUNT_ID, UNIT, VALIDITY_US, Ledger, usage
from tests.edge.tokens.passages import PASSAGES
from tokenline.accounting.v1 import accounting_pb2 as pb
from tokenline.registry.v1 import registry_pb2

CATALOG: Final = load_catalog([base_catalog_folder()])
SNAPSHOT: Final = Snapshot(CATALOG, {}, "http://simulator")
# The dialects of conversations.
CONVERSATIONS: Final = {registry_pb2.DIALECT_OPENAI_CHAT, registry_pb2.DIALECT_ANTHROPIC_MESSAGES}
# Those that hold a conversation of this length, 115,000 tokens of input and 4,096 of output; of a vendor one for each family, and
# for whether it shows its output.
LONG: Final = [
    model
    for model in CATALOG.models
    if CONVERSATIONS.intersection(model.dialects) and model.context_window_tokens >= 131_072 and model.max_output_tokens >= 4_096
]
MODEL_IDS: Final = sorted(
    {(model.routes[0].vendor_id, model.family_id, model.hidden_reasoning): model.model_id for model in LONG}.values()
)
DIALECTS: Final[tuple[Dialect, ...]] = (ChatCompletions(), AnthropicMessages())
PRINCIPAL: Final = Principal("key-1", "mbr-1", ACCOUNT_ID)
PACK: Final = 400_000
RULES: Final = charging_catalog(CATALOG, VALIDITY_US)


@cache
def prompt() -> str:
    """English of at least 110,000 tokens, whichever tokenizer counts them; of the fewest, 110,000 to the token or two."""
    random = Random("a long prompt")
    text = " ".join(" ".join(random.sample(PASSAGES["english"], len(PASSAGES["english"]))) for _ in range(600))
    # o200k makes the fewest of English.
    count = load("o200k").count
    shortest, longest = 0, len(text)
    while longest - shortest > 1:
        middle = (shortest + longest) // 2
        if count(text[:middle]) < 110_000:
            shortest = middle
        else:
            longest = middle
    return text[:longest]


class Buyer(Ledger):
    """An account on the default offering that has bought one pack and nothing else."""

    def __init__(self) -> None:
        super().__init__(RULES)
        ordered = self.ask(PlaceOrder(ACCOUNT_ID, "pack-400k", Payment.EXTERNAL, "pack"))
        assert isinstance(ordered, Ordered), ordered
        self.ask(ConfirmPayment(ACCOUNT_ID, ordered.order_id, "paid"))
        [bucket] = self.state.buckets.values()
        assert bucket.remaining == PACK * UNIT

    def begins(self, admitted: Admitted, request: Request) -> tuple[str, Granted]:
        """Opens a session as the edge asks for it at first; it must be granted."""
        charging_id = self.charging_id()
        self.pass_time(1)
        operation = pb.ChargeOperation(
            account_id=ACCOUNT_ID,
            charging_id=charging_id,
            invocation_sequence_number=1,
            create=admitted.create(PRINCIPAL, ""),
        )
        granted = self.ask(command_of(operation))
        assert isinstance(granted, Granted), (admitted.model.model_id, granted)
        return charging_id, granted


def asked(model_id: str, dialect: Dialect, content: str, **fields: Any) -> tuple[Request, Admitted]:
    """A request of one message as the edge admits it."""
    body = {"model": model_id, "messages": [{"role": "user", "content": content}], **fields}
    request = dialect.read(Body(msgspec.json.encode(body), "application/json"), {})
    return request, admit(Router(), dialect.name, request, _model(model_id), "account-1")


def _model(model_id: str) -> SellableModel:
    model = SNAPSHOT.model(model_id)
    assert model is not None
    return model


def dialects_of(model_id: str) -> list[Dialect]:
    """Those that a vendor of the model speaks."""
    found = [each for each in DIALECTS if _model(model_id).routes.get(each.name)]
    assert found
    return found


def test_the_prompt_has_110_000_tokens_for_every_tokenizer_and_no_pack_holds_its_bytes() -> None:
    counts = [load(name).count(prompt()) for name in TOKENIZER_NAMES]
    assert min(counts) == 110_000
    assert max(counts) < 115_000
    assert len(prompt().encode()) > PACK


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("model_id", MODEL_IDS)
async def test_an_english_prompt_of_110_000_tokens_fits_a_pack_of_400_000(model_id: str, stream: bool) -> None:
    for dialect in dialects_of(model_id):
        buyer = Buyer()
        request, admitted = asked(model_id, dialect, prompt(), stream=stream, max_tokens=4_096)
        charging_id, granted = buyer.begins(admitted, request)
        # All the output that was asked for can be paid for: the vendor is told the client's own limit.
        assert admitted.payable_limit(granted.output_granted, granted.output_payable) is None
        assert buyer.release(charging_id, 2, usage(110_000, 4_096)).debt == 0
        [bucket] = buyer.state.buckets.values()
        assert (bucket.remaining, bucket.consumed, bucket.reserved) == (285_904 * UNIT, 114_096 * UNIT, 0)


def shows_its_output(model_id: str) -> bool:
    """Whether the edge sees the model's output as it is made, by the catalog alone."""
    [model] = [each for each in CATALOG.models if each.model_id == model_id]
    vendors = {vendor.vendor_id: vendor for vendor in CATALOG.vendors}
    endpoints = [endpoint for route in model.routes for endpoint in vendors[route.vendor_id].endpoints]
    return not model.hidden_reasoning and all(each.streams for each in endpoints)


SHOWN: Final = [model_id for model_id in MODEL_IDS if shows_its_output(model_id)]


def test_most_models_show_their_output() -> None:
    assert (len(MODEL_IDS), len(SHOWN)) == (29, 17)


@pytest.mark.parametrize("model_id", SHOWN)
async def test_four_plain_calls_at_once_without_a_limit_are_served_from_a_pack_of_400_000(model_id: str) -> None:
    buyer = Buyer()
    request, admitted = asked(model_id, ChatCompletions(), "Tell me a story of a lighthouse and its keeper.")
    assert admitted.metered
    begun = [buyer.begins(admitted, request) for _ in range(4)]
    for charging_id, granted in begun:
        assert granted.output_granted >= 1_024
        limit = admitted.payable_limit(granted.output_granted, granted.output_payable)
        assert limit is None or limit >= 50_000
        assert buyer.release(charging_id, 2, usage(20, 1_000)).debt == 0
    [bucket] = buyer.state.buckets.values()
    assert (bucket.consumed, bucket.reserved) == (4 * 1_020 * UNIT, 0)
