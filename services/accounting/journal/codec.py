"""Encodes entries as a journal row's body, and decodes them: msgpack of [schema version, entries, actors].

The actors, by the index of the entry, are left out where there are none: such a row is as it was before there were actors.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from services.accounting.core.account.evolve import upgraded
from services.accounting.core.account.state import Account
from services.accounting.core.entries import Actor, Entry
from services.runtime.errors import SchemaError

SCHEMA_VERSION: Final = 1


class JournalError(SchemaError):
    """A row or a checkpoint cannot be read: written by newer code, or damaged."""


class _Row(msgspec.Struct, array_like=True, frozen=True, gc=False):
    schema_version: int
    entries: list[Entry]


class _AttributedRow(_Row, array_like=True, frozen=True, gc=False):
    actors: dict[int, Actor] = {}


class _Checkpoint(msgspec.Struct, array_like=True, frozen=True, gc=False):
    schema_version: int
    account: Account


_encoder: Final = msgspec.msgpack.Encoder()
_version_decoder: Final = msgspec.msgpack.Decoder(list[msgspec.Raw])
_row_decoder: Final = msgspec.msgpack.Decoder(_AttributedRow)
_checkpoint_decoder: Final = msgspec.msgpack.Decoder(_Checkpoint)


def encode_row(entries: list[Entry], actors: Mapping[int, Actor] | None = None) -> bytes:
    """A journal row's body. `actors`: who gave the command that made the entry at an index, where somebody did."""
    if not actors:
        return _encoder.encode(_Row(SCHEMA_VERSION, entries))
    return _encoder.encode(_AttributedRow(SCHEMA_VERSION, entries, dict(actors)))


def decode_row(body: bytes, where: str) -> list[Entry]:
    """The entries of a row's body; `where` names it in errors. Errors: `JournalError`."""
    return _decoded(body, where).entries


def decode_attributed_row(body: bytes, where: str) -> Sequence[tuple[Entry, Actor | None]]:
    """The entries of a row's body, each with who gave its command; None: nobody, or it is not known. Errors: `JournalError`."""
    row = _decoded(body, where)
    return [(entry, row.actors.get(index)) for index, entry in enumerate(row.entries)]


def _decoded(body: bytes, where: str) -> _AttributedRow:
    try:
        row = _row_decoder.decode(body)
    except msgspec.DecodeError as error:
        raise _unreadable(body, where, error) from error
    _check_version(row.schema_version, where)
    return row


def encode_checkpoint(account: Account) -> bytes:
    """An account's state as a checkpoint's body."""
    return _encoder.encode(_Checkpoint(SCHEMA_VERSION, account))


def decode_checkpoint(body: bytes, where: str) -> Account:
    """The account of a checkpoint's body. Errors: `JournalError`."""
    try:
        checkpoint = _checkpoint_decoder.decode(body)
    except msgspec.DecodeError as error:
        raise _unreadable(body, where, error) from error
    _check_version(checkpoint.schema_version, where)
    return upgraded(checkpoint.account)


def _check_version(version: int, where: str) -> None:
    # Refuse it even if it decodes here, because fields of newer code would be lost without a word.
    if version > SCHEMA_VERSION:
        raise JournalError(f"{where} has schema version {version}; this code reads up to {SCHEMA_VERSION}: run the newer release")


def _unreadable(body: bytes, where: str, error: Exception) -> JournalError:
    try:
        version = msgspec.msgpack.decode(_version_decoder.decode(body)[0])
    except (msgspec.DecodeError, IndexError):
        version = None
    if isinstance(version, int):
        _check_version(version, where)
    return JournalError(f"{where} is damaged: {error}")
