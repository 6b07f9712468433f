"""The catalog in force, its followers, and the task that brings the next one."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

from services.registry.catalog_folder import CatalogReader
from services.registry.catalog_store import PublishedLayers
from services.runtime.config import ConfigError
from services.runtime.errors import ServiceError
from services.runtime.instruments import Gauge, export
from tokenline.errors.v1 import errors_pb2
from tokenline.registry.v1 import registry_pb2

logger = logging.getLogger(__name__)


class CatalogInForce:
    """The last valid catalog. For one event loop; nothing here blocks."""

    def __init__(self) -> None:
        self._catalog: registry_pb2.Catalog | None = None
        # Why there is no catalog, or why the files are not what is in force; "" when they are.
        self._error = "it has not been read yet"
        self._stopping = False
        self._changed = asyncio.Event()

    def export(self) -> None:
        """Shows from now on what is in force, and whether that is what the files say."""
        export(
            Gauge(
                "registry.catalog.revision",
                "Revision in force; 0: none yet",
                lambda: self._catalog.revision if self._catalog else 0,
            ),
            Gauge(
                "registry.catalog.refused", "1 while the files or published layers are not valid", lambda: int(bool(self._error))
            ),
        )

    def put(self, catalog: registry_pb2.Catalog) -> None:
        """Puts a valid catalog in force and wakes its followers, if its revision is a new one."""
        if self._catalog is None or catalog.revision > self._catalog.revision:
            logger.info(
                "catalog revision %d is in force: %d models of %d vendors, %d tariffs, %d offerings, digest %s",
                catalog.revision,
                len(catalog.models),
                len(catalog.vendors),
                len(catalog.tariffs),
                len(catalog.offerings),
                catalog.digest,
            )
            self._catalog = catalog
            self._wake()
        elif self._error:
            logger.info("the catalog's files are valid again: revision %d stays in force", catalog.revision)
        self._error = ""

    def refuse(self, error: str) -> None:
        """Says, once, that the files are not valid. The catalog in force stays."""
        if error == self._error:
            return
        self._error = error
        if self._catalog is None:
            logger.error("there is no valid catalog: %s", error)
        else:
            logger.error("the catalog's change is refused, revision %d stays in force: %s", self._catalog.revision, error)

    def current(self) -> registry_pb2.Catalog:
        """The catalog in force. Errors: `ServiceError` CATALOG_UNAVAILABLE, with the reason, until one was valid."""
        if self._catalog is None:
            message = f"there is no valid catalog: {self._error}"
            raise ServiceError(errors_pb2.ERROR_REASON_CATALOG_UNAVAILABLE, message)
        return self._catalog

    async def follow(self) -> AsyncIterator[registry_pb2.Catalog]:
        """The catalog in force, as soon as there is one, then each later one; a slow follower gets the newest.

        Errors: `ServiceError` UNAVAILABLE when the registry stops.
        """
        revision = 0
        while not self._stopping:
            changed = self._changed
            if self._catalog is not None and self._catalog.revision > revision:
                revision = self._catalog.revision
                yield self._catalog
            else:
                await changed.wait()
        raise ServiceError(errors_pb2.ERROR_REASON_UNAVAILABLE, "the registry is stopping; watch again")

    def stop(self) -> None:
        """Ends all followers, so that the server need not wait for them."""
        self._stopping = True
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


async def keep_in_force(
    in_force: CatalogInForce,
    reader: CatalogReader,
    published: PublishedLayers | None,
    poll_interval_s: float,
    set_serving: Callable[[], Awaitable[None]],
) -> None:
    """Looks at folders and published layers now, at every interval, and as soon as something is published.

    Calls `set_serving` once, when there is a catalog.
    """
    serving = False
    while True:
        try:
            layers = () if published is None else published.layers()
            # A thread of its own, because disks can be slow.
            catalog = await asyncio.to_thread(reader.read_if_changed, layers)
        except ConfigError as error:
            in_force.refuse(str(error))
        else:
            if catalog is not None:
                in_force.put(catalog)
                if not serving:
                    await set_serving()
                    serving = True
        if published is None:
            await asyncio.sleep(poll_interval_s)
        else:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(poll_interval_s):
                    await published.changed.wait()
            published.changed.clear()
