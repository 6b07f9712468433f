"""Samples of a page of metrics, as Prometheus writes them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final


class Samples:
    """The samples of one page, by name."""

    def __init__(self, found: Mapping[str, list[tuple[dict[str, str], float]]]) -> None:
        self._found: Final = found

    def of(self, name: str) -> Iterator[tuple[dict[str, str], float]]:
        """The labels and the value of each sample of a name; nothing where the page has none."""
        yield from self._found.get(name, ())

    @property
    def is_of_an_edge(self) -> bool:
        """Whether they are an edge's, of whose cell other processes have pages of their own; `tokenline up` has one page."""
        return "edge_requests_total" in self._found and "charging_commits_total" not in self._found

    def total(self, name: str) -> float:
        """The sum over all labels; 0 where there is none."""
        return sum(value for _, value in self.of(name))

    def highest(self, name: str) -> float | None:
        """The highest value; None where there is none."""
        return max((value for _, value in self.of(name)), default=None)

    def by(self, name: str, *labels: str) -> dict[tuple[str, ...], float]:
        """Sums by the values of these labels."""
        sums: dict[tuple[str, ...], float] = {}
        for found, value in self.of(name):
            key = tuple(found.get(label, "") for label in labels)
            sums[key] = sums.get(key, 0.0) + value
        return sums


def read_samples(page: bytes, names: Sequence[str] = ()) -> Samples:
    """The samples of a page; where names are given, of these alone, which spares reading the others."""
    # Imported here, because commands without metrics need not wait for it.
    from prometheus_client.parser import text_string_to_metric_families

    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    text = page.decode()
    if names:
        wanted = tuple(f"{name}{end}" for name in names for end in "{ ")
        text = "".join(line for line in text.splitlines(keepends=True) if line.startswith(wanted))
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return Samples(found)
