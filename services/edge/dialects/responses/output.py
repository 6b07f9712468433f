"""Items of an answer's output, as far as they were told: joined as the official SDKs join them. Pure.

Whatever a vendor tells is kept as it came. What has no place, such as a part after a gap, is not kept.
"""

from typing import Any, Final

from services.edge.dialects.responses.names import ANNOTATION, ITEM_EVENT, PART_EVENTS, SNAPSHOTS, TEXTS, Place
from services.edge.dialects.typed_events import Tree

# No answer has more items, or parts of one.
INDEX_MAX: Final = 4_095
DONE: Final = ".done"
# Events that tell a piece of a text.
_PIECES: Final = {f"{begin}.delta": place for begin, place in TEXTS.items()}
# From an item: names of members, and indexes in lists.
Steps = tuple[str | int, ...]


def split(kind: str) -> tuple[str, str]:
    """The beginning of an event's type, and its last word with the dot."""
    place, dot, word = kind.rpartition(".")
    return place, dot + word


class Item:
    """One item of the output."""

    __slots__ = ("_pieces", "_tree", "done")

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        # Pieces of texts that grow.
        self._pieces: dict[Steps, list[str]] = {}
        # Places that were told to be whole; the empty one is the item itself.
        self.done: set[Steps] = set()

    @property
    def item_id(self) -> object:
        """Its ID; None where it has none."""
        return self._tree.get("id")

    @property
    def tree(self) -> Tree:
        """The item with all its pieces; changed by later events."""
        for steps, pieces in self._pieces.items():
            begun = _at(self._tree, steps)
            _put(self._tree, steps, (begun if isinstance(begun, str) else "") + "".join(pieces))
        self._pieces.clear()
        return self._tree

    def at(self, steps: Steps) -> Any:
        """The value at a place, or None."""
        return _at(self.tree, steps)

    def add(self, steps: Steps, piece: str) -> None:
        """Adds a piece to a text."""
        self._pieces.setdefault(steps, []).append(piece)

    def put(self, steps: Steps, value: Any) -> None:
        """Puts a value at a place, of which earlier pieces are void."""
        _put(self.tree, steps, value)


class Output:
    """The output of one answer."""

    def __init__(self) -> None:
        # All members of the response except its output, as they were told last.
        self.response: Tree = {}
        self.items: dict[int, Item] = {}
        self._by_id: dict[str, Item] = {}

    @property
    def trees(self) -> list[Tree]:
        """The items in order."""
        return [self.items[index].tree for index in sorted(self.items)]

    def place(self, kind: str, fields: Tree) -> tuple[Item | None, Steps]:
        """The item that an event tells of, and the place in it; no item where the event tells of none, or of none that is known."""
        index = fields.get("output_index")
        item = self.items.get(index) if type(index) is int else None
        begin, _ = split(kind)
        if kind == ANNOTATION:
            return item, ("content", _index(fields, "content_index"), "annotations", _index(fields, "annotation_index"))
        if begin in PART_EVENTS:
            parts, member = PART_EVENTS[begin]
            return item, (parts, _index(fields, member))
        if begin in TEXTS:
            return item, _steps(fields, TEXTS[begin])
        return item, ()

    def known(self, tree: Tree, index: object) -> Item | None:
        """An item as it is known: by its ID, else by its index."""
        item_id = tree.get("id")
        found = self.items.get(index) if type(index) is int else None
        if isinstance(item_id, str) and item_id and (found is None or found.item_id != item_id):
            found = self._by_id.get(item_id, found)
        return found

    def take(self, kind: str, fields: Tree) -> None:
        """Takes an event that the client was told."""
        if kind in _PIECES:
            self._add(fields, _PIECES[kind])
            return
        begin, word = split(kind)
        if kind in SNAPSHOTS:
            response = fields.get("response")
            if isinstance(response, dict):
                # A member that is left out once is still the one that was told last.
                self.response = {**self.response, **{name: value for name, value in response.items() if name != "output"}}
                self._take_items(response.get("output"))
        elif begin == ITEM_EVENT:
            self._take_item(fields.get("output_index"), fields.get("item"), is_done=word == DONE)
        elif begin in PART_EVENTS or begin in TEXTS or kind == ANNOTATION:
            self._take_within(kind, word, fields)

    def _take_items(self, told: object) -> None:
        for index, item in enumerate(told[: INDEX_MAX + 1] if isinstance(told, list) else ()):
            self._take_item(index, item, is_done=True)

    def _take_item(self, index: object, tree: object, *, is_done: bool) -> None:
        if not isinstance(tree, dict):
            return
        known = self.known(tree, index)
        if is_done and known is not None:
            # It may stay at another index.
            known.done.add(())
        if type(index) is not int or not 0 <= index <= INDEX_MAX:
            return
        before = self.items.get(index)
        if before is not None and self._by_id.get(str(before.item_id)) is before:
            del self._by_id[str(before.item_id)]
        item = self.items[index] = Item(tree)
        if isinstance(item.item_id, str):
            self._by_id[item.item_id] = item
        if is_done:
            item.done.add(())

    def _add(self, fields: Tree, place: Place) -> None:
        """Adds a piece to a text."""
        index, piece = fields.get("output_index"), fields.get("delta")
        self._open(index)
        if type(index) is int and index in self.items and isinstance(piece, str):
            self.items[index].add(_steps(fields, place), piece)

    def _open(self, index: object) -> None:
        """Opens an item whose begin was not told."""
        if type(index) is int and index not in self.items and 0 <= index <= INDEX_MAX:
            self.items[index] = Item({})

    def _take_within(self, kind: str, word: str, fields: Tree) -> None:
        self._open(fields.get("output_index"))
        item, steps = self.place(kind, fields)
        if item is None:
            return
        if kind == ANNOTATION:
            item.put(steps, fields.get("annotation"))
        elif split(kind)[0] in PART_EVENTS:
            item.put(steps, fields.get("part"))
        elif word == DONE and isinstance(text := fields.get(text_member(kind)), str):
            item.put(steps, text)
        if word == DONE:
            item.done.add(steps)


def text_member(kind: str) -> str:
    """The member of a `.done` event that has the whole text."""
    return TEXTS[split(kind)[0]][2]


def _steps(fields: Tree, place: Place) -> Steps:
    parts, member, name = place
    return (parts, _index(fields, member), name) if parts else (name,)


def _index(fields: Tree, name: str) -> int:
    index = fields.get(name, 0)
    return index if type(index) is int and index >= 0 else INDEX_MAX + 1


def _at(tree: Any, steps: Steps) -> Any:
    for step in steps:
        if isinstance(tree, dict):
            tree = tree.get(step)
        elif isinstance(tree, list) and isinstance(step, int) and step < len(tree):
            tree = tree[step]
        else:
            return None
    return tree


def _put(tree: Tree, steps: Steps, value: Any) -> None:
    """Puts a value at a place; makes what is missing on the way, but no gaps in lists."""
    node: Any = tree
    for step, following in zip(steps, (*steps[1:], None), strict=True):
        if isinstance(step, str):
            if not isinstance(node, dict):
                return
            held = node.get(step)
        else:
            if not isinstance(node, list) or step > min(len(node), INDEX_MAX):
                return
            held = node[step] if step < len(node) else None
        if following is None:
            held = value
        elif not isinstance(held, list if isinstance(following, int) else dict):
            held = [] if isinstance(following, int) else {}
        if isinstance(node, list) and step == len(node):
            node.append(held)
        else:
            node[step] = held
        node = held
