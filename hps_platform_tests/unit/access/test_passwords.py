"""Passwords and the pause after failures."""

import pytest

from hps_platform.access import FREE_ATTEMPTS, LONGEST_PAUSE_S, digest, passwords, pause_s
from hps_platform.errors import InvalidInput


def test_a_password_matches_its_own_hash_only() -> None:
    stored = passwords.hash_password("correct horse")
    assert stored.startswith("$argon2id$")
    assert "correct" not in stored
    assert passwords.matches(stored, "correct horse")
    assert not passwords.matches(stored, "Correct horse")
    assert not passwords.matches(stored, "")


@pytest.mark.parametrize("password", ["anything", "", "x" * 100_000, "\ud800", "\0"])
def test_without_a_hash_nothing_matches(password: str) -> None:
    assert not passwords.matches(None, password)


def test_a_damaged_hash_matches_nothing() -> None:
    assert not passwords.matches("not a hash", "anything")


def test_a_new_password_has_eight_characters() -> None:
    with pytest.raises(InvalidInput, match="at least 8 characters"):
        passwords.check_new("1234567")
    with pytest.raises(InvalidInput, match="too long"):
        passwords.check_new("x" * 2000)
    passwords.check_new("12345678")
    passwords.check_new(passwords.generate())


def test_pauses_begin_after_some_failures_and_double_up_to_a_limit() -> None:
    assert [pause_s(failures, FREE_ATTEMPTS) for failures in range(FREE_ATTEMPTS + 3)] == [
        *[0.0] * FREE_ATTEMPTS,
        15.0,
        30.0,
        60.0,
    ]
    assert pause_s(10_000, FREE_ATTEMPTS) == LONGEST_PAUSE_S


def test_a_digest_does_not_show_the_token() -> None:
    assert len(digest("token")) == 32
    assert digest("token") != digest("token ")
