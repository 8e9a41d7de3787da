"""Credentials are looked up again after some seconds, and outlive a short absence of the database."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from dash_app import guard
from dash_app.guard import GRACE_S, TRUST_S, Credentials
from hps_platform import access
from hps_platform.access import User
from hps_platform.errors import DatabaseUnavailable, Unauthenticated
from hps_platform.store.database import Database

ANN = User(1, "ann", is_admin=False)


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


class Book:
    """Stands for the database: says what the test wants, and counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.error: Exception | None = None
        self.expires_at: datetime | None = None

    def check(self, _: Database, __: str) -> tuple[User, datetime | None]:
        self.asked += 1
        if self.error:
            raise self.error
        return ANN, self.expires_at


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(guard, "time", clock)
    return clock


@pytest.fixture
def book(monkeypatch: pytest.MonkeyPatch) -> Book:
    book = Book()
    monkeypatch.setattr(access, "check_session", book.check)
    monkeypatch.setattr(access, "check_token", book.check)
    return book


@pytest.fixture
def ask() -> Callable[[], User]:
    credentials = Credentials(Database("postgresql://127.0.0.1:9/none"))
    return lambda: asyncio.run(credentials.user_of_session("secret"))


def test_right_ones_are_asked_for_again_after_some_seconds(clock: Clock, book: Book, ask: Callable[[], User]) -> None:
    assert ask() == ask() == ANN
    assert book.asked == 1
    clock.now += TRUST_S
    assert ask() == ANN
    assert book.asked == 2
    clock.now += TRUST_S
    book.error = Unauthenticated("gone")
    for _ in range(2):
        with pytest.raises(Unauthenticated):
            ask()


def test_a_session_that_ends_meanwhile_is_asked_for_at_once(clock: Clock, book: Book, ask: Callable[[], User]) -> None:
    assert clock
    book.expires_at = datetime.now(UTC) - timedelta(seconds=1)
    ask()
    ask()
    assert book.asked == 2


def test_a_database_that_is_away_shuts_nobody_out_for_a_while(
    clock: Clock, book: Book, ask: Callable[[], User]
) -> None:
    ask()
    clock.now += TRUST_S
    book.error = DatabaseUnavailable("away")
    assert ask() == ask() == ANN
    assert book.asked == 2, "while it is away it is not asked with every request"
    clock.now += GRACE_S
    with pytest.raises(DatabaseUnavailable):
        ask()
    book.error = None
    assert ask() == ANN


def test_strangers_stay_out_while_the_database_is_away(book: Book, ask: Callable[[], User]) -> None:
    book.error = DatabaseUnavailable("away")
    with pytest.raises(DatabaseUnavailable):
        ask()


def test_sessions_and_tokens_are_kept_apart(book: Book) -> None:
    credentials = Credentials(Database("postgresql://127.0.0.1:9/none"))
    asyncio.run(credentials.user_of_session("secret"))
    book.error = Unauthenticated("no token")
    with pytest.raises(Unauthenticated):
        asyncio.run(credentials.user_of_token("secret"))


def test_signing_out_forgets(book: Book) -> None:
    credentials = Credentials(Database("postgresql://127.0.0.1:9/none"))
    asyncio.run(credentials.user_of_session("secret"))
    credentials.forget_session("secret")
    book.error = Unauthenticated("over")
    with pytest.raises(Unauthenticated):
        asyncio.run(credentials.user_of_session("secret"))
