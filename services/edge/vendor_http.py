"""Vendor calls by aiohttp: pooled, bounded in time and size, following no redirect and no environment."""

import asyncio
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Final, Self

import aiohttp

from services.edge.config import EdgeConfig
from services.edge.vendor import VendorFailure

_BODY_BYTES_MAX: Final = 64 * 1024 * 1024
_REFUSAL_BYTES_MAX: Final = 64 * 1024
# Less than the idle time after which servers commonly close a connection: a POST must not meet one that is just closing.
_KEEPALIVE_S: Final = 15.0


class HttpVendorClient:
    """See `services.edge.vendor.VendorClient`. An asynchronous context manager."""

    def __init__(self, config: EdgeConfig) -> None:
        self._config = config
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEPALIVE_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(
                total=None,
                sock_connect=self._config.connect_timeout_ms / 1_000,
                sock_read=self._config.idle_timeout_ms / 1_000,
            ),
            trust_env=False,
            auto_decompress=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._session is not None
        await self._session.close()

    async def post(self, url: str, api_key: str, body: bytes) -> "_HttpAnswer":
        assert self._session is not None
        headers = {"content-type": "application/json", "accept-encoding": "identity"}
        if api_key:
            headers["authorization"] = f"Bearer {api_key}"
        try:
            async with asyncio.timeout(self._config.first_byte_timeout_ms / 1_000):
                response = await self._session.post(
                    url,
                    data=body,
                    headers=headers,
                    allow_redirects=False,
                    # The first byte has a longer limit of its own, above.
                    timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._config.connect_timeout_ms / 1_000),
                )
        except aiohttp.ServerTimeoutError as error:
            # Only connecting has a limit of aiohttp's here.
            raise VendorFailure("unreachable") from error
        except TimeoutError as error:
            raise VendorFailure("timeout") from error
        except aiohttp.ClientConnectorError as error:
            raise VendorFailure("unreachable") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise VendorFailure("broken") from error
        answer = _HttpAnswer(response, self._config.idle_timeout_ms / 1_000)
        if response.status != 200:
            try:
                refusal = await answer.read(_REFUSAL_BYTES_MAX)
            except VendorFailure:
                refusal = b""
            finally:
                answer.close()
            raise VendorFailure("refused", response.status, refusal)
        return answer


class _HttpAnswer:
    """See `services.edge.vendor.VendorAnswer`."""

    def __init__(self, response: aiohttp.ClientResponse, idle_timeout_s: float) -> None:
        self._response = response
        self._idle_timeout_s = idle_timeout_s

    async def read(self, bytes_max: int = _BODY_BYTES_MAX) -> bytes:
        pieces = []
        size = 0
        async for piece in self.pieces():
            pieces.append(piece)
            size += len(piece)
            if size > bytes_max:
                raise VendorFailure("garbage", self._response.status)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def pieces(self) -> AsyncIterator[bytes]:
        content = self._response.content
        status = self._response.status
        while True:
            try:
                # Mostly the piece is there already, and then no timer is set.
                piece = content.read_nowait()
                if not piece:
                    if content.at_eof():
                        return
                    async with asyncio.timeout(self._idle_timeout_s):
                        piece = await content.readany()
            except TimeoutError as error:
                raise VendorFailure("timeout", status) from error
            except (aiohttp.ClientError, OSError) as error:
                raise VendorFailure("broken", status) from error
            if not piece:
                return
            yield piece

    def close(self) -> None:
        # Gives the connection back if the answer has ended, else cuts it off.
        if self._response.content.is_eof():
            self._response.release()
        else:
            self._response.close()
