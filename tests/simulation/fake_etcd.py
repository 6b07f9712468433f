"""An etcd in virtual time.

Leases end, watches lag, repeat themselves and skip what lies between, calls fail before or after they took effect.
"""

import asyncio
import random
from collections.abc import AsyncIterator

from services.runtime.etcd import EtcdError, KeyValue, Snapshot

_TICK_S = 0.1


class FakeEtcd:
    """The servers. `run` must be running."""

    def __init__(self) -> None:
        self.revision = 1
        self.keys: dict[str, KeyValue] = {}
        # Lease -> (how long it lives, when it ends).
        self.leases: dict[int, tuple[float, float]] = {}
        self.down = False
        self.changed = asyncio.Event()

    async def run(self) -> None:
        """Ends leases, for ever; none while it is down, as the servers do not count that time."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_TICK_S)
            if self.down:
                self.leases = {lease: (ttl_s, end_s + _TICK_S) for lease, (ttl_s, end_s) in self.leases.items()}
                continue
            for lease in [lease for lease, (_, end_s) in self.leases.items() if end_s < loop.time()]:
                self.end_lease(lease)

    def put(self, key: str, value: bytes, lease: int) -> int:
        if lease and lease not in self.leases:
            raise EtcdError("etcd: requested lease not found")
        self.revision += 1
        before = self.keys.get(key)
        self.keys[key] = KeyValue(value, self.revision if before is None else before.create_revision, self.revision, lease)
        self._wake()
        return self.revision

    def delete(self, *keys: str) -> int:
        self.revision += 1
        for key in keys:
            self.keys.pop(key, None)
        self._wake()
        return self.revision

    def end_lease(self, lease: int) -> None:
        if self.leases.pop(lease, None) is not None:
            self.delete(*(key for key, each in self.keys.items() if each.lease == lease))

    def snapshot(self, prefix: str) -> Snapshot:
        return Snapshot(
            self.revision, {key.removeprefix(prefix): each for key, each in self.keys.items() if key.startswith(prefix)}
        )

    def _wake(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()


class FakeEtcdClient:
    """One process's `EtcdClient`; while it is frozen, nothing returns."""

    def __init__(self, etcd: FakeEtcd, rng: random.Random, fails: float, thawed: asyncio.Event) -> None:
        self._etcd = etcd
        self._rng = rng
        self.fails = fails
        self._thawed = thawed

    async def _before(self) -> None:
        await asyncio.sleep(self._rng.choice((0.0, 0.001, 0.02)))
        await self._thawed.wait()
        if self._etcd.down:
            await asyncio.sleep(self._rng.choice((0.0, 2.0)))
            raise EtcdError("injected: etcd is down")
        if self._rng.random() < self.fails:
            raise EtcdError("injected: not sent")

    async def _after(self) -> None:
        await asyncio.sleep(self._rng.choice((0.0, 0.001, 0.02)))
        await self._thawed.wait()
        if self._rng.random() < self.fails:
            raise EtcdError("injected: done, answer lost")

    async def get(self, key: str) -> KeyValue | None:
        await self._before()
        found = self._etcd.keys.get(key)
        await self._after()
        return found

    async def put(self, key: str, value: bytes, lease: int = 0) -> int:
        await self._before()
        revision = self._etcd.put(key, value, lease)
        await self._after()
        return revision

    async def put_all(self, values: dict[str, bytes]) -> int:
        await self._before()
        for key, value in values.items():
            self._etcd.put(key, value, 0)
        await self._after()
        return self._etcd.revision

    async def put_if(self, key: str, value: bytes, lease: int = 0, *, mod_revision: int = 0) -> int | None:
        await self._before()
        before = self._etcd.keys.get(key)
        if (0 if before is None else before.mod_revision) != mod_revision:
            return None
        revision = self._etcd.put(key, value, lease)
        await self._after()
        return revision

    async def delete_if(self, key: str, *, mod_revision: int) -> int | None:
        await self._before()
        before = self._etcd.keys.get(key)
        if (0 if before is None else before.mod_revision) != mod_revision:
            return None
        revision = self._etcd.delete(key)
        await self._after()
        return revision

    async def grant(self, ttl_s: int) -> int:
        await self._before()
        lease = self._rng.getrandbits(60) + 1
        self._etcd.leases[lease] = (ttl_s, asyncio.get_running_loop().time() + ttl_s)
        await self._after()
        return lease

    async def keep_alive(self, lease: int) -> bool:
        await self._before()
        known = self._etcd.leases.get(lease)
        if known is not None:
            self._etcd.leases[lease] = (known[0], asyncio.get_running_loop().time() + known[0])
        await self._after()
        return known is not None

    async def revoke(self, lease: int) -> None:
        await self._before()
        self._etcd.end_lease(lease)
        await self._after()

    async def follow(self, prefix: str) -> AsyncIterator[Snapshot]:
        seen = 0
        while True:
            changed = self._etcd.changed
            # What comes meanwhile is seen with the next; some of it twice.
            await asyncio.sleep(self._rng.choice((0.0, 0.001, 0.05, 0.5)))
            await self._thawed.wait()
            if not self._etcd.down and (self._etcd.revision > seen or self._rng.random() < 0.1):
                seen = self._etcd.revision
                yield self._etcd.snapshot(prefix)
            elif self._etcd.down:
                await asyncio.sleep(0.2)
            else:
                await changed.wait()
