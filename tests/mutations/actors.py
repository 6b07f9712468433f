"""Faults with actors: commands in nobody's name, or in another's."""

from typing import Final

from tests.mutations.planting import Mutation, one

_PARTITION: Final = "services/accounting/writer/partition.py"
_OWNER: Final = "services/accounting/writer/owner.py"
_CODEC: Final = "services/accounting/journal/codec.py"
_FIELDS: Final = "services/accounting/rpc/fields.py"
_CLI: Final = "services/cli/journal.py"
_IN_JOURNAL: Final = "tests/accounting/journal/test_actors.py"
_IN_RPC: Final = "tests/accounting/rpc/test_actors.py"
_IN_EDGE: Final = "tests/edge/test_admin_sales.py"
_IN_CLI: Final = "tests/cli/test_sales.py"

ACTORS: Final[tuple[Mutation, ...]] = (
    one(
        "the actor of a command is that of all its commit",
        _PARTITION,
        "        actors, self._actors = self._actors, {}\n",
        "        actors = dict.fromkeys(range(len(entries)), next(iter(self._actors.values()))) if self._actors else {}\n"
        "        self._actors = {}\n",
        _IN_JOURNAL,
    ),
    one(
        "the actors of a commit stand in the next one too",
        _PARTITION,
        "        actors, self._actors = self._actors, {}\n",
        "        actors = self._actors\n",
        _IN_JOURNAL,
    ),
    one(
        "what was due before a command has its actor",
        _PARTITION,
        "        used = type(command) is not ApplyDue\n",
        "        used = type(command) is not ApplyDue\n"
        "        if actor is not None:\n"
        "            self._actors[len(self.pending)] = actor\n",
        _IN_JOURNAL,
    ),
    one(
        "the first entry of a command alone has its actor",
        _PARTITION,
        "range(len(self.pending), len(self.pending) + len(entries))",
        "range(len(self.pending), len(self.pending) + 1)",
        _IN_JOURNAL,
    ),
    one("actors are written while some would not read them", _OWNER, "if self._attributes else None", "", _IN_JOURNAL),
    one("nobody is told that actors are read", _OWNER, "            self._attributes = attributes\n", "", _IN_JOURNAL),
    one(
        "later classes wait for actors",
        _OWNER,
        "self._runs = features.EXTENDED_USAGE in understood, ",
        "self._runs = features.OWN <= understood, ",
        _IN_JOURNAL,
    ),
    one(
        "with several database servers commands are nobody's",
        "services/accounting/cell/server_groups.py",
        "owner.submit(command, caller, tag, actor)",
        "owner.submit(command, caller, tag)",
        _IN_JOURNAL,
    ),
    one("a row without actors says so", _CODEC, "    if not actors:\n", "    if actors is None:\n", _IN_JOURNAL),
    one("an actor is read of the entry before", _CODEC, "row.actors.get(index)", "row.actors.get(index - 1)", _IN_JOURNAL),
    one(
        "an actor may write its lines backwards",
        _FIELDS,
        "if not 1 <= len(value) <= length or not value.isprintable():",
        "if not 1 <= len(value) <= length or min(value) < ' ':",
        _IN_RPC,
    ),
    one("an actor of any length is taken", _FIELDS, "if not 1 <= len(value) <= length or", "if not value or", _IN_RPC),
    one(
        "an actor without a role is taken",
        _FIELDS,
        '_word_of("actor.role", actor.role, _PROOF_LENGTH_MAX)',
        "actor.role",
        _IN_RPC,
    ),
    one(
        "a grant is nobody's",
        "services/accounting/rpc/servicer.py",
        "self._done(commands.grant_bucket_of(request), request)",
        "self._done(commands.grant_bucket_of(request), pb.GrantBucketRequest())",
        _IN_RPC,
    ),
    one(
        "the journal keeps its actors to itself",
        "services/accounting/rpc/journal.py",
        "journal_entry_message(row.part_id, row.seq, index, entry, actor)",
        "journal_entry_message(row.part_id, row.seq, index, entry)",
        _IN_RPC,
    ),
    one(
        "the edge gives commands in nobody's name",
        "services/edge/api/admin/command.py",
        "    command.actor.CopyFrom(actor_of(request))\n",
        "",
        _IN_EDGE,
    ),
    one(
        "the journal's page leaves out who it was",
        "services/edge/api/admin/journal.py",
        'MessageToDict(entry.actor) if entry.HasField("actor") else None',
        "None",
        _IN_EDGE,
    ),
    one(
        "an old entry seems to be nobody's",
        _CLI,
        'return " by unknown" if entry["fact"] in _COMMANDED or _is_granted(entry) else ""',
        'return ""',
        _IN_CLI,
    ),
    one(
        "any service may say that it acts for an operator",
        "services/callers.py",
        '        "WriteOffDebt": _PASSED_ON,\n',
        '        "WriteOffDebt": _PASSED_ON | {BILLING},\n',
        "tests/trust/test_callers.py",
    ),
)
