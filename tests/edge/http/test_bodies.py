"""What is held of bodies that are on their way in."""

import pytest

from services.edge.http.bodies import Bodies
from services.edge.http.problems import Problem


def test_what_is_held_is_counted_by_account_and_in_all_and_forgotten_at_its_end() -> None:
    bodies = Bodies(bytes_max=100, account_bytes_max=60)
    with bodies.coming("acct-a") as first, bodies.coming("acct-a") as second, bodies.coming("acct-b") as other:
        first.add(40)
        second.add(20)
        with pytest.raises(Problem) as refused:
            second.add(1)
        assert refused.value.status == 429
        other.add(40)
        with pytest.raises(Problem) as refused:
            other.add(1)
        assert refused.value.status == 503
    # Of an account that has none nothing stays.
    assert (bodies._bytes, bodies._by_account) == (0, {})
    with bodies.coming("acct-a") as again:
        again.add(60)
