"""Tokens are shown once, stored as a hash, and the first one closes the edge for good."""

from __future__ import annotations

import re
from hashlib import sha256

import pytest
from rayloop.platform.errors import Conflict, InvalidInput, NotFound
from rayloop.platform.state import Database, Ledger, Tokens
from sqlalchemy import text


@pytest.fixture
def tokens(database: Database) -> Tokens:
    return Tokens(database)


def test_a_token_is_43_random_letters_and_only_its_hash_is_kept(tokens: Tokens, database: Database) -> None:
    first, second = tokens.create("ci", "inference"), tokens.create("ops", "admin")
    assert re.fullmatch(r"rl_[A-Za-z0-9_-]{43}", first)
    assert first != second
    (found, _) = tokens.tokens()
    assert (found.name, found.role, found.is_valid) == ("ci", "inference", True)
    assert found.sha256 == sha256(first.encode()).hexdigest()
    with database.engine.connect() as connection:
        for table in ("token", "ledger"):
            rows = str(connection.execute(text(f"select * from {table}")).all())
            assert first not in rows
            assert first.removeprefix("rl_") not in rows


def test_each_change_is_in_the_ledger(tokens: Tokens, database: Database) -> None:
    tokens.create("ci", "deploy")
    tokens.revoke("ci")
    entries = [(entry.action, entry.subject, entry.detail) for entry in Ledger(database).entries()]
    assert entries == [("token-create", "ci", {"role": "deploy"}), ("token-revoke", "ci", {"role": "deploy"})]


def test_revoking_the_last_token_opens_nothing(tokens: Tokens) -> None:
    assert tokens.access().is_open
    made = tokens.create("ci", "inference")
    access = tokens.access()
    assert not access.is_open
    assert access.map_entries() == {sha256(made.encode()).hexdigest(): "inference|ci"}
    tokens.revoke("ci")
    assert not tokens.access().is_open
    assert tokens.access().map_entries() == {}


def test_a_name_is_free_again_once_its_token_is_revoked(tokens: Tokens) -> None:
    old = tokens.create("ci", "inference")
    with pytest.raises(Conflict, match="there is a token 'ci' already"):
        tokens.create("ci", "admin")
    tokens.revoke("ci")
    new = tokens.create("ci", "inference")
    assert old != new
    assert set(tokens.access().grants) == {sha256(new.encode()).hexdigest()}
    assert [found.is_valid for found in tokens.tokens()] == [False, True]


def test_what_is_not_there_can_not_be_revoked(tokens: Tokens) -> None:
    with pytest.raises(NotFound, match="no token 'ci'"):
        tokens.revoke("ci")
    tokens.create("ci", "inference")
    tokens.revoke("ci")
    with pytest.raises(Conflict, match="revoked already"):
        tokens.revoke("ci")


@pytest.mark.parametrize("name", ["", "a b", "a|b", "-a", "x" * 65, "a\nb"])
def test_an_unfit_name_is_refused(tokens: Tokens, database: Database, name: str) -> None:
    with pytest.raises(InvalidInput, match="token name"):
        tokens.create(name, "inference")
    assert tokens.access().is_open
    assert Ledger(database).entries() == []


def test_an_unknown_role_is_refused(tokens: Tokens) -> None:
    with pytest.raises(InvalidInput, match="role 'root' must be one of inference, deploy, admin"):
        tokens.create("ci", "root")
