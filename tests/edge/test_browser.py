"""A real browser on pages of other origins: what it lets a page read of an edge, as the standard has it and not as we read it."""

import asyncio
import html
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec
import pytest
import pytest_asyncio
from aiohttp import web

from tests.edge.system import Cell, cell
from tests.waiting import WAIT_S

pytestmark = pytest.mark.asyncio(loop_scope="module")

_NAMES: Final = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
CHROMIUM: Final = next((found for name in _NAMES if (found := shutil.which(name))), None)
GRANT: Final = {"unit": "TOKEN", "amount": 1_000_000_000, "valid_days": 30, "idempotency_key": "top-up"}
# It asks for what its address says, and writes into itself what it may read of the answer.
_PAGE: Final = b"""<!doctype html><pre id="told">nothing</pre><script>
const [url, options] = JSON.parse(decodeURIComponent(location.hash.slice(1)));
(async () => {
  let told;
  try {
    const answer = await fetch(url, options);
    const headers = Object.fromEntries(answer.headers);
    told = { status: answer.status, id: headers["x-request-id"] ?? null, body: await answer.text() };
  } catch (error) {
    told = { error: error.name };
  }
  document.getElementById("told").textContent = JSON.stringify(told);
})();
</script>"""


@asynccontextmanager
async def pages() -> AsyncIterator[str]:
    """Serves the page; yields its origin."""

    async def page(request: web.Request) -> web.Response:
        return web.Response(body=_PAGE, content_type="text/html")

    application = web.Application()
    application.router.add_get("/", page)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


class Browser:
    """Chromium, on a page of an allowed origin, or of another one."""

    def __init__(self, services: Cell, allowed: str, other: str, profile: str, api_key: str) -> None:
        self.services = services
        self.allowed = allowed
        self.other = other
        self._profile = profile
        self._api_key = api_key

    async def ask(self, origin: str, path: str, body: Any = None, **headers: str) -> Any:
        """What a page of the origin may read of the answer to its request."""
        options: dict[str, Any] = {"headers": {"authorization": f"Bearer {self._api_key}", **headers}}
        if body is not None:
            options |= {"method": "POST", "body": msgspec.json.encode(body).decode()}
        asked = msgspec.json.encode([self.services.base_url + path, options]).hex("%")
        assert CHROMIUM is not None
        process = await asyncio.create_subprocess_exec(
            *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={self._profile}"),
            *("--virtual-time-budget=20000", "--dump-dom", f"{origin}/#%{asked}"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(WAIT_S):
                dumped, said = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        found = re.search(r'<pre id="told">(.*?)</pre>', dumped.decode(), re.DOTALL)
        assert found is not None, said.decode()
        return msgspec.json.decode(html.unescape(found[1]))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed: apt-get install chromium-headless-shell")
    folder = tmp_path_factory.mktemp("browser")
    async with pages() as allowed, pages() as other:

        def prepare(services: Cell) -> None:
            services.edge_changes = {"cors_origins": (allowed,), "body_bytes_max": 5_000}

        async with cell(folder, prepare=prepare) as services:
            await services.ready()
            account_id, api_key = await services.subscriber("page")
            assert (await services.admin("POST", f"/accounts/{account_id}/buckets", GRANT)).status == 201
            yield Browser(services, allowed, other, str(folder / "profile"), api_key)


CHAT: Final = {"model": "small", "max_tokens": 20, "messages": [{"role": "user", "content": "x" * 40}]}


@pytest.mark.parametrize("stream", [False, True])
async def test_a_page_of_an_allowed_origin_reads_its_answers(browser: Browser, stream: bool) -> None:
    """Authorization and the type of the body need a preflight, which the browser sends by itself."""
    told = await browser.ask(
        browser.allowed,
        "/chat/completions",
        {**CHAT, "stream": stream},
        **{"content-type": "application/json", "idempotency-key": f"page-{stream}"},
    )
    assert (told["status"], len(told["id"])) == (200, 36)
    assert ("data: [DONE]" in told["body"]) == stream
    assert "chat.completion" in told["body"]


async def test_it_reads_errors_too(browser: Browser) -> None:
    told = await browser.ask(browser.allowed, "/chat/completions", {**CHAT, "model": "nobody"})
    assert (told["status"], msgspec.json.decode(told["body"])["error"]["code"]) == (404, "model_not_found")


async def test_it_reads_that_its_body_is_too_large(browser: Browser) -> None:
    """The connection ends with that answer, while the browser still sends."""
    told = await browser.ask(
        browser.allowed, "/chat/completions", {**CHAT, "messages": [{"role": "user", "content": "x" * 10_000}]}
    )
    assert (told["status"], msgspec.json.decode(told["body"])["error"]["code"]) == (413, "request_too_large")


@pytest.mark.parametrize("path", ["/models", "/nothing"])
async def test_a_page_of_another_origin_reads_nothing(browser: Browser, path: str) -> None:
    assert await browser.ask(browser.other, path) == {"error": "TypeError"}
