"""Every dialect that clients speak, for tests that try the same in each: where it is, a right call, a right answer of a vendor."""

import asyncio
import base64
from collections.abc import Callable
from typing import Any, Final

import aiohttp
import msgspec
import websockets

from tests.edge.tokens.sounds import wav
from tests.journeys.subscriber import CATALOG, Subscriber
from tests.registry.catalogs import changed
from tests.waiting import WAIT_S

# Ten tokens for the simulator.
TEN: Final = "x" * 40
BOUNDARY: Final = "b0undary"
_ENDS: Final = ("response.completed", "response.incomplete", "response.failed", "error")
_KINDS: Final = ("openai_embeddings", "openai_completions", "rerank", "openai_images", "openai_speech", "openai_transcriptions")
# By dialect: a model at the simulator. Those of the scripted vendor have "hostile-" or "late-" before the name.
MODELS: Final = {
    "openai_embeddings": "vectors",
    "openai_completions": "older",
    "rerank": "ranker",
    "openai_images": "painter",
    "openai_speech": "speaker",
    "openai_transcriptions": "scribe",
}


def _model(vendor_id: str, model_id: str, dialect: str) -> str:
    output = 0 if dialect in ("openai_embeddings", "rerank", "openai_speech") else 2_000
    measure = {"openai_images": "    output_measure: image\n", "openai_speech": "    input_measure: character\n"}.get(dialect, "")
    return f"""\
  - model_id: {model_id}
    display_name: {model_id}
    owned_by: acme
    context_window_tokens: 16000
    max_output_tokens: {1 if measure and output else output}
{measure}    family_id: byte-bpe
    release_date: 2026-01-02
    dialects: [{dialect}]
    routes:
      - {{vendor_id: {vendor_id}, vendor_model_id: {vendor_id}-{model_id}, priority: 0}}
"""


_ENDPOINTS: Final = "".join(f"      {kind}: {{}}\n" for kind in ("openai_chat", "anthropic_messages", "openai_responses", *_KINDS))
_OF_ALL: Final = "".join(
    _model(vendor_id, prefix + model_id, dialect)
    for dialect, model_id in MODELS.items()
    for vendor_id, prefix in (("acme", ""), ("other", "hostile-"), ("other", "late-"))
)
_LATE: Final = """\
  - model_id: late
    display_name: Late
    owned_by: acme
    context_window_tokens: 100000
    max_output_tokens: 50000
    family_id: byte-bpe
    release_date: 2026-01-02
    routes:
      - {vendor_id: other, vendor_model_id: other-late, priority: 0}
"""
_RATES: Final = "".join(
    f"      - {{model_id: {prefix}{model_id}, input: {text}, output: 0, {rate}: 1000000}}\n"
    for model_id, text, rate in (("painter", 1_000_000, "generated_images"), ("speaker", 0, "spoken_characters"))
    for prefix in ("", "hostile-", "late-")
)


def _with_endpoints(vendor: str, catalog: str) -> str:
    address = f"    base_url_env: TOKENLINE_{vendor}_BASE_URL\n"
    errors = "    errors:\n      - {code: Arrearage, meaning: account}\n" if vendor == "OTHER" else ""
    return changed(address, f"{address}{errors}    endpoints:\n{_ENDPOINTS}", catalog)


_ALL: Final = '      - {model_id: "*", input: 1000000, output: 1000000}\n'
# Both vendors speak every dialect.
EVERY: Final = changed(
    _ALL,
    _ALL + _RATES,
    changed("tariffs:\n", _OF_ALL + _LATE + "tariffs:\n", _with_endpoints("OTHER", _with_endpoints("ACME", CATALOG))),
)


class Told(msgspec.Struct, frozen=True):
    """What a client is told."""

    status: int
    headers: dict[str, str]
    body: bytes
    # The error object, or the last event's; empty where there is none.
    error: dict[str, Any]

    @property
    def says(self) -> str:
        """The error's message."""
        return str(self.error.get("message", ""))


class Door(msgspec.Struct, frozen=True):
    """A dialect as clients reach it."""

    name: str
    # Behind /v1.
    path: str
    # The model at the simulator; the scripted vendor has "hostile", or "hostile-" before it.
    model_id: str
    # A right call without its model, and what of it is ten tokens.
    fields: dict[str, Any]
    # The vendor's right answer, as one; and its content type.
    answer: bytes
    content_type: str = "application/json"
    # What that answer charges, in tokens of quota, beside its input.
    output: int = 0
    # What its input charges, by the vendor's count.
    input: int = 10
    is_form: bool = False
    is_socket: bool = False

    @property
    def hostile_id(self) -> str:
        """The model at the scripted vendor."""
        return "hostile" if self.model_id == "small" else f"hostile-{self.model_id}"

    @property
    def late_id(self) -> str:
        """A model there that nothing but being late is asked of."""
        return self.hostile_id.replace("hostile", "late")

    @property
    def names_code(self) -> bool:
        """Whether its errors have a code and name a field."""
        return self.name != "messages"

    def body(self, model_id: str = "", **fields: Any) -> bytes:
        """A right call, with other fields."""
        return self.encoded({"model": model_id or self.model_id, **self.fields, **fields})

    def encoded(self, fields: dict[str, Any]) -> bytes:
        """Fields as the dialect writes them."""
        if self.is_socket:
            return msgspec.json.encode({"type": "response.create", **fields})
        if not self.is_form:
            return msgspec.json.encode(fields)
        parts = b"".join(part(name, value) for name, value in fields.items())
        return parts + f"--{BOUNDARY}--\r\n".encode()

    async def ask(self, subscriber: Subscriber, body: bytes, **headers: str) -> Told:
        """Sends a body, whatever it is; `headers` with underscores."""
        sent = {"authorization": f"Bearer {subscriber.api_key}", **{name.replace("_", "-"): each for name, each in headers.items()}}
        if self.is_socket:
            return await self._ask_on_socket(subscriber, body, sent)
        sent.setdefault("content-type", f"multipart/form-data; boundary={BOUNDARY}" if self.is_form else "application/json")
        url = subscriber.services.base_url + self.path
        async with subscriber.http.post(url, data=body, headers=sent) as response:
            content = await response.read()
            told = {name.lower(): value for name, value in response.headers.items()}
        return Told(response.status, told, content, _error(content) if response.status >= 400 else {})

    async def _ask_on_socket(self, subscriber: Subscriber, body: bytes, headers: dict[str, str]) -> Told:
        url = subscriber.services.base_url.replace("http://", "ws://") + self.path
        async with (
            asyncio.timeout(WAIT_S),
            websockets.connect(url, additional_headers=headers, proxy=None, max_size=None) as connection,
        ):
            await connection.send(body, text=True)
            status, told = 200, dict[str, str]()
            while True:
                message = await connection.recv()
                event = msgspec.json.decode(message)
                told |= event.get("headers") or {}
                if event["type"] in _ENDS:
                    break
        content = message.encode() if isinstance(message, str) else message
        if event["type"] == "error":
            return Told(event["status"], told, content, event["error"])
        error = event["response"].get("error") or {}
        return Told(status, told, content, error)


def part(name: str, value: Any) -> bytes:
    """A part of a form; a file is of bytes."""
    file = '; filename="talk.wav"' if isinstance(value, bytes) else ""
    content = value if isinstance(value, bytes) else value.encode() if isinstance(value, str) else msgspec.json.encode(value)
    return f'--{BOUNDARY}\r\ncontent-disposition: form-data; name="{name}"{file}\r\n\r\n'.encode() + content + b"\r\n"


def _error(content: bytes) -> dict[str, Any]:
    error: dict[str, Any] = msgspec.json.decode(content)["error"]
    return error


def _chat() -> dict[str, Any]:
    message = {"role": "assistant", "content": "one two"}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    usage = {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}
    return {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}


def _message() -> dict[str, Any]:
    said = [{"type": "text", "text": "one two"}]
    usage = {"input_tokens": 10, "output_tokens": 2}
    end = {"stop_reason": "end_turn", "stop_sequence": None}
    return {"id": "m", "type": "message", "role": "assistant", "model": "m", "content": said, **end, "usage": usage}


def _response() -> dict[str, Any]:
    said = {"type": "output_text", "text": "one two", "annotations": []}
    item = {"type": "message", "id": "i", "role": "assistant", "status": "completed", "content": [said]}
    usage = {"input_tokens": 10, "output_tokens": 2, "total_tokens": 12}
    return {"id": "r", "object": "response", "created_at": 1, "status": "completed", "model": "m", "output": [item], "usage": usage}


def _completion() -> dict[str, Any]:
    choice = {"index": 0, "text": "one two", "finish_reason": "stop", "logprobs": None}
    usage = {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}
    return {"id": "c", "object": "text_completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}


def _vectors() -> dict[str, Any]:
    data = [{"object": "embedding", "index": 0, "embedding": [0.5, 0.5]}]
    return {"object": "list", "data": data, "model": "m", "usage": {"prompt_tokens": 10, "total_tokens": 10}}


def _ranks() -> dict[str, Any]:
    return {"id": "r", "results": [{"index": 0, "relevance_score": 0.5}], "usage": {"prompt_tokens": 20, "total_tokens": 20}}


def _images() -> dict[str, Any]:
    data = [{"b64_json": base64.b64encode(b"\x89PNG").decode()}]
    return {"created": 1, "data": data, "usage": {"input_tokens": 10, "output_tokens": 0, "total_tokens": 10}}


def _transcription() -> dict[str, Any]:
    return {"text": "one two", "usage": {"type": "tokens", "input_tokens": 10, "output_tokens": 2, "total_tokens": 12}}


_json: Final[Callable[[Any], bytes]] = msgspec.json.Encoder().encode
_SAYS: Final = {"messages": [{"role": "user", "content": TEN}]}
CHAT: Final = Door("chat", "/chat/completions", "small", {**_SAYS, "max_tokens": 50}, _json(_chat()), output=2)
MESSAGES: Final = Door("messages", "/messages", "small", {**_SAYS, "max_tokens": 50}, _json(_message()), output=2)
RESPONSES: Final = Door("responses", "/responses", "small", {"input": TEN, "max_output_tokens": 50}, _json(_response()), output=2)
SOCKET: Final = msgspec.structs.replace(RESPONSES, name="socket", is_socket=True)
COMPLETIONS: Final = Door("completions", "/completions", "older", {"prompt": TEN, "max_tokens": 50}, _json(_completion()), output=2)
EMBEDDINGS: Final = Door("embeddings", "/embeddings", "vectors", {"input": TEN}, _json(_vectors()))
RERANK: Final = Door("rerank", "/rerank", "ranker", {"query": TEN, "documents": [TEN]}, _json(_ranks()), input=20)
IMAGES: Final = Door("images", "/images/generations", "painter", {"prompt": TEN}, _json(_images()), output=1)
SPEECH: Final = Door(
    "speech", "/audio/speech", "speaker", {"input": TEN, "voice": "alloy"}, b"\xff\xfbsound", "audio/mpeg", input=40
)
TRANSCRIPTIONS: Final = Door(
    "transcriptions", "/audio/transcriptions", "scribe", {"file": wav(1)}, _json(_transcription()), output=2, is_form=True
)
DOORS: Final = (CHAT, MESSAGES, RESPONSES, SOCKET, COMPLETIONS, EMBEDDINGS, RERANK, IMAGES, SPEECH, TRANSCRIPTIONS)


async def total_served(http: aiohttp.ClientSession, simulator_base_url: str) -> int:
    """Calls that the simulator has answered so far."""
    async with http.get(f"{simulator_base_url}/simulator/served") as response:
        served = msgspec.json.decode(await response.read())
    return int(sum(each["calls"] for each in served["by_key"].values()))
