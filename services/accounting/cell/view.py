"""A cell as etcd describes it: its replicas, their claims, and the replica that should own each partition. Pure."""

import hashlib
from collections.abc import Iterable

import msgspec

from services.runtime.etcd import Snapshot


class CellRecord(msgspec.Struct, frozen=True):
    """The key `cell`."""

    cell_id: str
    era: int
    partitions: int
    # Made with the key, so that a wiped etcd, or another one, is noticed.
    coordinator_id: str


class Member(msgspec.Struct, frozen=True):
    """A key below `members/`."""

    address: str
    # It hands its partitions over and takes no others.
    leaving: bool = False
    # Features beyond the first release, whose members say nothing.
    features: tuple[str, ...] = ()


class Reached(msgspec.Struct, frozen=True, array_like=True):
    """A key below `reached/`."""

    era: int
    # Next sequence number after the last row that is surely committed.
    next_seq: int


class View(msgspec.Struct, frozen=True):
    """State of etcd as of a revision."""

    revision: int
    cell: CellRecord | None
    # By ID.
    members: dict[str, Member]
    # By ID of the member: its lease, and the revision at which it came.
    leases: dict[str, int]
    since: dict[str, int]
    # part_id -> (ID of the owner, the revision at which it claimed).
    claims: dict[int, tuple[str, int]]
    # part_id -> ID of the member that an operator wants.
    moves: dict[int, str]
    reached: dict[int, Reached]

    def chosen(self, part_id: int, live: Iterable[str]) -> str | None:
        """The live member that should own a partition: as few partitions as possible move when a member comes or goes."""
        moved = self.moves.get(part_id)
        if moved is not None and moved in live:
            return moved
        return first_choice(part_id, live)

    def features(self) -> frozenset[str]:
        """Features that every member understands, leaving members included: they may still get a partition back."""
        announced = [frozenset(member.features) for member in self.members.values()]
        return frozenset.intersection(*announced) if announced else frozenset()

    def owners(self) -> dict[int, str]:
        """part_id -> address of its owner, without partitions that have none."""
        return {part_id: self.members[owner].address for part_id, (owner, _) in self.claims.items() if owner in self.members}


def first_choice(part_id: int, members: Iterable[str]) -> str | None:
    """Rendezvous hashing: the choice stays as long as the chosen member does."""
    return max(members, key=lambda member_id: hashlib.blake2b(f"{member_id}/{part_id}".encode()).digest(), default=None)


def view_of(snapshot: Snapshot) -> View:
    """A snapshot of the keys below the prefix, decoded."""
    view = View(snapshot.revision, None, {}, {}, {}, {}, {}, {})
    for name, each in snapshot.keys.items():
        kind, _, rest = name.partition("/")
        if name == "cell":
            view = msgspec.structs.replace(view, cell=msgspec.json.decode(each.value, type=CellRecord))
        elif kind == "members":
            view.members[rest] = msgspec.json.decode(each.value, type=Member)
            view.leases[rest] = each.lease
            view.since[rest] = each.create_revision
        elif kind == "claims":
            view.claims[int(rest)] = (each.value.decode(), each.mod_revision)
        elif kind == "moves":
            view.moves[int(rest)] = each.value.decode()
        elif kind == "reached":
            view.reached[int(rest)] = msgspec.json.decode(each.value, type=Reached)
    return view
