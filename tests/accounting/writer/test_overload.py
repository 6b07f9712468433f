"""An owner with more to do than it can: what is shed, of whom, and what never is."""

from services.accounting.core.commands import Answer, Command, Failed, Fault, Granted, ReadAccount, Settled, UpdateSession
from tests.accounting.ledger import ACCOUNT_ID, usage
from tests.accounting.owners import Collector, Desk, in_virtual_time, released
from tokenline.errors.v1 import errors_pb2

# Answers that may wait.
MOST = 8_192
OTHER_ID = "acct-other00000"


def shed(collector: Collector) -> list[int]:
    """Tags of the commands that were shed."""
    return [tag for tag, answer in collector.answers if isinstance(answer, Failed) and answer.fault is Fault.OVERLOADED]


def submit(desk: Desk, collector: Collector, *commands: Command) -> None:
    for tag, command in enumerate(commands):
        desk.owner.submit(command, collector, tag)


async def crowded(desk: Desk) -> None:
    """Two accounts at an owner whose store takes nothing more."""
    await desk.start()
    await desk.open(1_000_000)
    await desk.open(1_000_000, OTHER_ID)


async def read(desk: Desk, count: int) -> None:
    """Lets this many answers wait that are nobody's call."""
    submit(desk, Collector(), *[ReadAccount(ACCOUNT_ID)] * count)


def granted(answer: Answer) -> bool:
    return isinstance(answer, Granted)


@in_virtual_time
async def test_an_account_s_creates_are_shed_when_as_many_of_its_answers_wait_as_there_is_room_left_for(desk: Desk) -> None:
    await crowded(desk)
    desk.store.hold()
    busy, other = Collector(), Collector()
    submit(desk, busy, *(desk.create(1) for _ in range(MOST // 2 + 1)))
    # It is told at once, while the others wait for their commit.
    assert shed(busy) == [MOST // 2]
    assert (len(busy.answers), desk.owner.metrics.shed) == (1, 1)
    submit(desk, other, *(desk.create(1, account_id=OTHER_ID) for _ in range(MOST // 4 + 1)))
    assert shed(other) == [MOST // 4]
    desk.store.let_go.set()
    answers = await busy.wait(MOST // 2 + 1)
    assert sum(map(granted, answers)) == MOST // 2
    # Once they are answered there is room again.
    assert granted(await desk.ask(desk.create(1)))
    await desk.audit()


@in_virtual_time
async def test_answers_in_the_commit_under_way_count(desk: Desk) -> None:
    await crowded(desk)
    desk.store.hold()
    first, second = Collector(), Collector()
    submit(desk, first, *(desk.create(1) for _ in range(MOST // 4)))
    await desk.store.waiting.wait()
    submit(desk, second, *(desk.create(1) for _ in range(MOST // 4 + 1)))
    assert shed(second) == [MOST // 4]
    desk.store.let_go.set()
    await second.wait(MOST // 4 + 1)


@in_virtual_time
async def test_updates_are_shed_later_and_releases_never(desk: Desk) -> None:
    await crowded(desk)
    session = desk.create(1, 1)
    assert granted(await desk.ask(session))
    desk.store.hold()
    collector = Collector()
    update = UpdateSession(ACCOUNT_ID, session.charging_id, 2, usage(input=1), 1)
    await read(desk, MOST)
    submit(desk, collector, desk.create(1, account_id=OTHER_ID), update)
    assert shed(collector) == [0]
    await read(desk, MOST - 2)
    again = UpdateSession(ACCOUNT_ID, session.charging_id, 3, usage(input=1), 1)
    submit(desk, collector, desk.create(1, account_id=OTHER_ID), again)
    assert shed(collector) == [0, 0]
    last = UpdateSession(ACCOUNT_ID, session.charging_id, 4, usage(input=1), 1)
    submit(desk, collector, last, released(session.charging_id, 5, 1))
    assert shed(collector) == [0, 0, 0]
    desk.store.let_go.set()
    answers = await collector.wait(6)
    assert isinstance(answers[-1], Settled)


@in_virtual_time
async def test_after_a_commit_that_failed_nothing_is_shed_for_what_waited(desk: Desk) -> None:
    await crowded(desk)
    desk.store.failures.append("lost")
    collector = Collector()
    submit(desk, collector, *(desk.create(1) for _ in range(MOST // 2)))
    answers = await collector.wait(MOST // 2)
    assert {answer.fault for answer in answers if isinstance(answer, Failed)} == {Fault.STORE_UNAVAILABLE}
    while not desk.owner.serving:
        await desk.store.waiting.wait()
    assert granted(await desk.ask(desk.create(1)))


@in_virtual_time
async def test_a_partition_that_is_given_up_takes_its_answers_along(desk: Desk) -> None:
    await crowded(desk)
    desk.store.hold()
    busy = Collector()
    submit(desk, busy, desk.create(1))
    await desk.store.waiting.wait()
    submit(desk, busy, *(desk.create(1) for _ in range(10)))
    answers = desk.owner._answers
    assert answers._of_waiting == {ACCOUNT_ID: 10}
    answers.withdraw(list(desk.owner._holdings.partitions.values()), Failed(Fault.NOT_OWNER, "it has another owner"))
    assert answers._of_waiting == {}
    desk.store.let_go.set()
    await busy.wait(11)


def test_the_fault_has_the_number_of_the_contract() -> None:
    assert int(Fault.OVERLOADED) == errors_pb2.ERROR_REASON_OVERLOADED
