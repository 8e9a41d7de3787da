"""Who may come in: accounts, sign-in, sessions and API tokens.

Cookies, headers and pages belong to `dash_app`; rows to `hps_platform.store.accounts`. Session ids and API tokens are
random and kept as SHA-256 only; passwords as Argon2id.
"""

import hashlib
import logging
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from hps_platform.access import passwords
from hps_platform.errors import InvalidInput, NotFound, TooManyAttempts, Unauthenticated
from hps_platform.store import accounts
from hps_platform.store.accounts import Account, ApiToken
from hps_platform.store.database import Database

logger = logging.getLogger(__name__)

FREE_ATTEMPTS = 5
"""Wrong passwords for one account from one address before the first pause."""
FREE_ATTEMPTS_PER_ADDRESS = 30
"""Wrong passwords for whatever accounts from one address before the first pause."""
FIRST_PAUSE_S = 15.0
LONGEST_PAUSE_S = 900.0
MAX_USERNAME = 150
EVERY_ACCOUNT = ""


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who proved who they are."""

    id: int
    username: str
    is_admin: bool


@dataclass(frozen=True, slots=True)
class SignedIn:
    """`token` is the session's secret: for the cookie, never for a log."""

    user: User
    token: str
    expires_at: datetime


def pause_s(failures: int, free: int) -> float:
    """How long after the last failure the next attempt has to wait: none, then 15 s, doubling up to 15 minutes."""
    if failures < free:
        return 0.0
    return float(min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(failures - free, 16)))


def digest(token: str) -> bytes:
    """What is stored of a token. A plain hash is enough: 256 bits of chance can't be guessed from it."""
    return hashlib.sha256(token.encode()).digest()


# Signing in -----------------------------------------------------------------------------------------------------------


def verify(db: Database, username: str, password: str, *, address: str) -> User:
    """The user of that name and password.

    `Unauthenticated` for every reason alike (unknown, disabled, wrong), after the same work; `TooManyAttempts` when
    this address failed too often. An attempt counts as failed from its beginning until it has succeeded, so guesses
    sent in parallel gain nothing.
    """
    username = "".join(letter for letter in username.strip()[:MAX_USERNAME] if letter.isprintable())
    counted = username.lower() or "?"
    _count_attempt(db, address, counted)
    with db.connection() as conn:
        account = accounts.find_account(conn, username)
    usable = account if account is not None and account.is_active else None
    if not passwords.matches(usable.password_hash if usable else None, password) or usable is None:
        logger.warning("refused sign-in for %r from %s", username, address)
        raise Unauthenticated("The user name or the password is wrong.")
    with db.connection() as conn:
        accounts.forgive(conn, address, counted, EVERY_ACCOUNT)
        if passwords.outdated(usable.password_hash):
            accounts.set_password_hash(conn, usable.id, passwords.hash_password(password), changed=False)
    return User(usable.id, usable.username, usable.is_admin)


def _count_attempt(db: Database, address: str, counted: str) -> None:
    limits = ((EVERY_ACCOUNT, FREE_ATTEMPTS_PER_ADDRESS), (counted, FREE_ATTEMPTS))
    with db.connection() as conn:
        accounts.forget_failures(conn, older_than_s=LONGEST_PAUSE_S)
        found = []
        for name, free in limits:  # always in this order: two attempts never wait for each other
            failures, since_s = accounts.lock_failures(conn, address, name)
            remaining = pause_s(failures, free) - since_s
            if remaining > 0:
                logger.warning("sign-in for %r from %s is paused for %.0f s", counted, address, remaining)
                raise TooManyAttempts(
                    f"Too many failed sign-ins. Try again in {max(1, round(remaining))} seconds.", remaining
                )
            found.append((name, failures))
        for name, failures in found:
            accounts.set_failures(conn, address, name, failures + 1)


def sign_in(db: Database, username: str, password: str, *, address: str, hours: int) -> SignedIn:
    """Verifies and opens a session; raises as `verify` does."""
    user = verify(db, username, password, address=address)
    token = secrets.token_urlsafe(32)
    expires_at = datetime.now(UTC) + timedelta(hours=hours)
    with db.connection() as conn:
        accounts.create_session(conn, digest(token), user.id, expires_at=expires_at, address=address)
    logger.info("user %r signed in from %s", user.username, address)
    return SignedIn(user, token, expires_at)


def check_session(db: Database, token: str) -> tuple[User, datetime]:
    """The user of a running session and when it ends; `Unauthenticated` otherwise."""
    with db.connection() as conn:
        found = accounts.session_user(conn, digest(token))
    if found is None:
        raise Unauthenticated("The session has ended: sign in again.")
    return User(*found[:3]), found[3]


def sign_out(db: Database, token: str) -> None:
    """Ends the session everywhere; one that is over already is no error."""
    with db.connection() as conn:
        accounts.end_session(conn, digest(token))


# API tokens -----------------------------------------------------------------------------------------------------------


def issue_token(db: Database, username: str, *, name: str, days: int | None = None) -> str:
    """A new API token of that user, shown this once; `NotFound` for an unknown user."""
    account = _account(db, username)
    token = secrets.token_urlsafe(32)
    expires_at = None if days is None else datetime.now(UTC) + timedelta(days=days)
    with db.connection() as conn:
        accounts.create_token(conn, digest(token), account.id, name=name, expires_at=expires_at)
    return token


def check_token(db: Database, token: str) -> tuple[User, datetime | None]:
    """The user of a valid API token and when it ends; `Unauthenticated` otherwise."""
    with db.connection() as conn:
        found = accounts.token_user(conn, digest(token))
    if found is None:
        raise Unauthenticated("The token is not valid.")
    return User(*found[:3]), found[3]


def list_tokens(db: Database, username: str | None = None) -> list[ApiToken]:
    with db.connection() as conn:
        return accounts.list_tokens(conn, username)


def revoke_token(db: Database, token_id: int) -> None:
    with db.connection() as conn:
        accounts.revoke_token(conn, token_id)


# Accounts -------------------------------------------------------------------------------------------------------------


def ensure_first_account(db: Database, username: str, password: str | None) -> str | None:
    """Makes the first administrator where there is no user yet; gives the password it generated, if it did.

    A password of the operator's own is taken as it is, since nothing else could be done with it at start.
    """
    with db.connection() as conn:
        if accounts.any_user(conn):
            return None
    chosen = password or passwords.generate()
    if len(chosen) < passwords.MIN_LENGTH:
        logger.warning("the first account's password has fewer than %d characters", passwords.MIN_LENGTH)
    password_hash = passwords.hash_password(chosen)
    with db.connection() as conn:
        created = accounts.create_first_user(conn, username, password_hash)
    return chosen if created and not password else None


def add_user(db: Database, username: str, password: str, *, is_admin: bool = False) -> User:
    """`Conflict` when the name is taken, `InvalidInput` for a bad name or password."""
    username = username.strip()
    if not username or len(username) > MAX_USERNAME or not username.isprintable():
        raise InvalidInput(f"a user name has 1 to {MAX_USERNAME} printable characters")
    passwords.check_new(password)
    password_hash = passwords.hash_password(password)
    with db.connection() as conn:
        return User(accounts.create_user(conn, username, password_hash, is_admin=is_admin), username, is_admin)


def set_password(db: Database, username: str, password: str) -> None:
    """Ends all sessions of that user; `NotFound`, `InvalidInput`."""
    passwords.check_new(password)
    account = _account(db, username)
    password_hash = passwords.hash_password(password)
    with db.connection() as conn:
        accounts.set_password_hash(conn, account.id, password_hash, changed=True)


def set_active(db: Database, username: str, *, active: bool) -> None:
    """A disabled user is refused with every session and token."""
    account = _account(db, username)
    with db.connection() as conn:
        accounts.set_active(conn, account.id, active=active)


def list_users(db: Database) -> list[Account]:
    with db.connection() as conn:
        return accounts.list_accounts(conn)


def _account(db: Database, username: str) -> Account:
    with db.connection() as conn:
        account = accounts.find_account(conn, username)
    if account is None:
        raise NotFound(f"there is no user {username!r}")
    return account
