"""Accounts on a real PostgreSQL: what is stored, who comes in, pauses, sessions, tokens, and the command line."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import unquote, urlsplit

import pytest
from typer.testing import CliRunner

from hps_platform import access
from hps_platform.access import passwords
from hps_platform.cli.accounts import app
from hps_platform.errors import Conflict, InvalidInput, NotFound, TooManyAttempts, Unauthenticated
from hps_platform.store import accounts
from hps_platform.store.database import Database

PASSWORD = "correct horse battery"
HERE = "192.0.2.1"


@pytest.fixture
def db(migrated_dsn: str) -> Iterator[Database]:
    with Database(migrated_dsn) as database:
        yield database


@pytest.fixture
def ann(db: Database) -> str:
    return access.add_user(db, "Ann", PASSWORD).username


def sign_in(db: Database, username: str, password: str = PASSWORD, address: str = HERE) -> access.SignedIn:
    return access.sign_in(db, username, password, address=address, hours=1)


def columns(db: Database, query: str) -> str:
    with db.connection() as conn:
        return repr(conn.execute(query.encode()).fetchall())


def test_the_first_account_is_made_once(db: Database) -> None:
    generated = access.ensure_first_account(db, "admin", None)
    assert generated
    assert access.verify(db, "admin", generated, address=HERE).is_admin
    assert access.ensure_first_account(db, "admin", None) is None
    assert access.ensure_first_account(db, "other", "password of mine") is None
    assert [account.username for account in access.list_users(db)] == ["admin"]


def test_the_first_accounts_password_may_be_chosen(db: Database) -> None:
    assert access.ensure_first_account(db, "root", "short") is None
    assert access.verify(db, "root", "short", address=HERE).username == "root"


def test_two_starts_at_once_make_one_first_account(db: Database) -> None:
    threads = [threading.Thread(target=access.ensure_first_account, args=(db, f"admin{n}", None)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(access.list_users(db)) == 1


def test_no_secret_is_stored(db: Database, ann: str) -> None:
    signed_in = sign_in(db, ann)
    token = access.issue_token(db, ann, name="script")
    everything = columns(db, "SELECT users::text FROM users") + columns(db, "SELECT * FROM sessions, api_tokens")
    for secret in (PASSWORD, signed_in.token, token):
        assert secret not in everything
    assert "$argon2id$" in everything


def test_names_are_unique_in_any_case(db: Database, ann: str) -> None:
    with pytest.raises(Conflict, match="already"):
        access.add_user(db, ann.upper(), PASSWORD)
    assert sign_in(db, f" {ann.lower()} ").user.username == ann


@pytest.mark.parametrize("username", ["", "  ", "x" * 151, "a\0b", "a\nb"])
def test_bad_names_are_refused(db: Database, username: str) -> None:
    with pytest.raises(InvalidInput):
        access.add_user(db, username, PASSWORD)


@pytest.mark.parametrize("username", ["Ann", "nobody", "", "a\0b", "\ud800"])
def test_wrong_and_unknown_sound_the_same(db: Database, ann: str, username: str) -> None:
    assert ann
    with pytest.raises(Unauthenticated, match=r"^The user name or the password is wrong\.$"):
        sign_in(db, username, "wrong")


def test_unknown_accounts_cost_a_hash_too(db: Database, ann: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str | None] = []
    real = passwords.matches

    def watched(stored: str | None, given: str) -> bool:
        asked.append(stored)
        return real(stored, given)

    monkeypatch.setattr(passwords, "matches", watched)
    for username in (ann, "nobody"):
        with pytest.raises(Unauthenticated):
            sign_in(db, username, "wrong")
    assert len(asked) == 2
    assert asked[1] is None


def test_a_session_ends(db: Database, ann: str) -> None:
    signed_in = sign_in(db, ann)
    assert timedelta(minutes=59) < signed_in.expires_at - datetime.now(UTC) <= timedelta(hours=1)
    assert access.check_session(db, signed_in.token) == (signed_in.user, signed_in.expires_at)
    with db.connection() as conn:
        conn.execute("UPDATE sessions SET expires_at = now()")
    with pytest.raises(Unauthenticated):
        access.check_session(db, signed_in.token)
    sign_in(db, ann)
    assert columns(db, "SELECT count(*) FROM sessions") == "[(1,)]"


def test_signing_out_ends_one_session(db: Database, ann: str) -> None:
    first, second = sign_in(db, ann), sign_in(db, ann)
    access.sign_out(db, first.token)
    access.sign_out(db, first.token)
    with pytest.raises(Unauthenticated):
        access.check_session(db, first.token)
    assert access.check_session(db, second.token)[0].username == ann


def test_a_new_password_ends_all_sessions_but_no_token(db: Database, ann: str) -> None:
    signed_in, token = sign_in(db, ann), access.issue_token(db, ann, name="script")
    access.set_password(db, ann, "another password")
    with pytest.raises(Unauthenticated):
        access.check_session(db, signed_in.token)
    with pytest.raises(Unauthenticated):
        sign_in(db, ann)
    assert sign_in(db, ann, "another password").user.username == ann
    assert access.check_token(db, token)[0].username == ann


def test_a_disabled_account_is_out_and_may_come_back(db: Database, ann: str) -> None:
    signed_in, token = sign_in(db, ann), access.issue_token(db, ann, name="script")
    access.set_active(db, ann, active=False)
    for attempt in (
        lambda: access.check_session(db, signed_in.token),
        lambda: access.check_token(db, token),
        lambda: sign_in(db, ann),
    ):
        with pytest.raises(Unauthenticated):
            attempt()
    access.set_active(db, ann, active=True)
    assert access.check_token(db, token)[0].username == ann
    with pytest.raises(Unauthenticated):
        access.check_session(db, signed_in.token)


def test_tokens_end_and_are_revoked(db: Database, ann: str) -> None:
    lasting, short = access.issue_token(db, ann, name="a"), access.issue_token(db, ann, name="b", days=1)
    assert access.check_token(db, lasting)[1] is None
    user, expires_at = access.check_token(db, short)
    assert user.username == ann
    assert expires_at is not None
    with db.connection() as conn:
        conn.execute("UPDATE api_tokens SET expires_at = now() WHERE name = 'b'")
    with pytest.raises(Unauthenticated):
        access.check_token(db, short)
    listed = access.list_tokens(db, ann.lower())
    assert [token.name for token in listed] == ["a", "b"]
    assert listed[0].last_used_at is not None
    access.revoke_token(db, listed[0].id)
    with pytest.raises(Unauthenticated):
        access.check_token(db, lasting)
    with pytest.raises(NotFound):
        access.revoke_token(db, listed[0].id)


def fail(db: Database, username: str, times: int, address: str = HERE) -> None:
    for _ in range(times):
        with pytest.raises(Unauthenticated):
            access.verify(db, username, "wrong", address=address)


def test_failures_pause_one_account_from_one_address(db: Database, ann: str) -> None:
    access.add_user(db, "bob", PASSWORD)
    fail(db, ann, access.FREE_ATTEMPTS)
    with pytest.raises(TooManyAttempts, match=r"Try again in \d+ seconds") as paused:
        access.verify(db, ann, PASSWORD, address=HERE)
    assert 0 < paused.value.retry_after_s <= access.FIRST_PAUSE_S
    assert access.verify(db, ann, PASSWORD, address="192.0.2.2").username == ann
    assert access.verify(db, "bob", PASSWORD, address=HERE).username == "bob"


def test_after_the_pause_one_more_attempt_is_free_and_success_forgives(db: Database, ann: str) -> None:
    fail(db, ann, access.FREE_ATTEMPTS)
    age(db, access.FIRST_PAUSE_S + 1)
    fail(db, ann, 1)
    with pytest.raises(TooManyAttempts) as paused:
        access.verify(db, ann, PASSWORD, address=HERE)
    assert paused.value.retry_after_s > access.FIRST_PAUSE_S
    age(db, 2 * access.FIRST_PAUSE_S + 1)
    assert access.verify(db, ann, PASSWORD, address=HERE).username == ann
    fail(db, ann, access.FREE_ATTEMPTS)


def test_many_accounts_from_one_address_are_paused_too(db: Database, ann: str) -> None:
    with db.connection() as conn:
        accounts.lock_failures(conn, HERE, access.EVERY_ACCOUNT)
        accounts.set_failures(conn, HERE, access.EVERY_ACCOUNT, access.FREE_ATTEMPTS_PER_ADDRESS)
    with pytest.raises(TooManyAttempts):
        access.verify(db, ann, PASSWORD, address=HERE)
    age(db, access.LONGEST_PAUSE_S + 1)
    assert access.verify(db, ann, PASSWORD, address=HERE).username == ann


def test_guesses_in_parallel_are_all_counted(db: Database, ann: str) -> None:
    outcomes: list[type[BaseException]] = []

    def guess() -> None:
        try:
            access.verify(db, ann, "wrong", address=HERE)
        except (Unauthenticated, TooManyAttempts) as error:
            outcomes.append(type(error))

    threads = [threading.Thread(target=guess) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count(Unauthenticated) == access.FREE_ATTEMPTS
    assert outcomes.count(TooManyAttempts) == 12 - access.FREE_ATTEMPTS


def age(db: Database, seconds: float) -> None:
    """As if that time had passed since the last failure."""
    with db.connection() as conn:
        conn.execute("UPDATE sign_in_failures SET last_at = last_at - make_interval(secs => %s)", (seconds,))


def test_an_old_hash_is_renewed_at_sign_in(db: Database, ann: str) -> None:
    from argon2 import PasswordHasher

    weak = PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash(PASSWORD)
    with db.connection() as conn:
        conn.execute("UPDATE users SET password_hash = %s", (weak,))
    access.verify(db, ann, PASSWORD, address=HERE)
    account = access.list_users(db)[0]
    assert account.password_hash != weak
    assert not passwords.outdated(account.password_hash)


def test_the_command_line(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = urlsplit(db.dsn)
    for name, value in (
        ("DATABASE_HOST", parts.hostname),
        ("DATABASE_PORT", str(parts.port)),
        ("POSTGRES_USER", parts.username),
        ("POSTGRES_PASSWORD", unquote(parts.password or "")),
        ("POSTGRES_DB", parts.path.lstrip("/")),
    ):
        monkeypatch.setenv(name, value or "")
    run = CliRunner()

    def hps(*arguments: str, stdin: str = "") -> str:
        result = run.invoke(app, list(arguments), input=stdin, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    assert "added administrator carol" in hps("user", "add", "carol", "--admin", "--password-stdin", stdin=PASSWORD)
    printed = hps("user", "add", "dave")
    password = printed.split("password of dave: ")[1].split()[0]
    assert access.verify(db, "dave", password, address=HERE).is_admin is False
    listed = hps("user", "list")
    assert "carol" in listed
    assert "viewer" in listed
    token = hps("token", "create", "carol", "--name", "script", "--days", "7").strip()
    assert access.check_token(db, token)[0].username == "carol"
    assert token not in hps("token", "list")
    assert "script" in hps("token", "list", "--user", "carol")
    hps("token", "revoke", "1")
    with pytest.raises(Unauthenticated):
        access.check_token(db, token)
    assert "sessions ended" in hps("user", "passwd", "dave", "--password-stdin", stdin="a new password\n")
    assert access.verify(db, "dave", "a new password", address=HERE)
    hps("user", "disable", "dave")
    with pytest.raises(Unauthenticated):
        access.verify(db, "dave", "a new password", address=HERE)
    hps("user", "disable", "dave", "--undo")
    assert access.verify(db, "dave", "a new password", address=HERE)
    with pytest.raises(NotFound, match="no user 'erin'"):
        hps("token", "create", "erin")
    with pytest.raises(InvalidInput, match="too short"):
        hps("user", "add", "erin", "--password-stdin", stdin="short\n")
