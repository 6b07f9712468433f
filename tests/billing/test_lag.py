"""The export's lag, as those on call see it."""

from services.billing.exporter import Exporter
from services.billing.lag import Lag
from tests.billing.journals import ScriptedAccounting, settled


def test_the_lag_grows_until_a_pass_exports_all_and_counts_from_that_passs_question() -> None:
    now_s = [10.0]
    lag = Lag(lambda: now_s[0])
    now_s[0] = 14.0
    assert (lag.seconds, lag.rows, lag.stopped) == (4, 0, 0)
    lag.begin(14.0, {0: 5, 1: 2})
    now_s[0] = 20.0
    assert (lag.seconds, lag.rows) == (10, 7)
    lag.end({1: "the journal has a gap"})
    assert (lag.seconds, lag.rows, lag.stopped) == (10, 2, 1)
    lag.begin(20.0, {1: 3})
    now_s[0] = 21.0
    lag.end({})
    assert (lag.seconds, lag.rows, lag.stopped) == (1, 0, 0)


async def test_a_partition_that_stops_is_behind_by_the_rows_that_it_lacks(
    accounting: ScriptedAccounting, exporter: Exporter
) -> None:
    for number in range(1, 4):
        accounting.append(0, settled(number))
        accounting.append(1, settled(number + 10))
    accounting.rows[0][1][0].sequence_number = 3
    await exporter.export()
    assert (exporter.lag.rows, exporter.lag.stopped) == (3, 1)
    accounting.rows[0][1][0].sequence_number = 2
    await exporter.export()
    assert (exporter.lag.rows, exporter.lag.stopped) == (0, 0)
