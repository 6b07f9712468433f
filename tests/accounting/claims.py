"""Claims of a store's partitions, as a process makes them."""

from services.accounting.journal.store import Claim, ClaimedPartition, Store


async def claim(
    store: Store, incarnation: str, *, again: bool, revision: int = 0, era: int = 1, part_ids: range | None = None
) -> list[ClaimedPartition]:
    """Claims these partitions, or all, at one revision."""
    wanted = [each.part_id for each in await store.partitions()] if part_ids is None else part_ids
    return await store.claim(incarnation, era, [Claim(part_id, revision) for part_id in wanted], again=again)
