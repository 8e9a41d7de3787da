"""Passwords: what they must be, how they are hashed (Argon2id) and checked in a time that tells nothing."""

import secrets
from threading import BoundedSemaphore

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from hps_platform.errors import InvalidInput

MIN_LENGTH = 8
MAX_LENGTH = 1024
"""A longer one is refused unread: hashing it would be work that a stranger can order for nothing."""

# The library's defaults are RFC 9106's for memory-constrained machines: 64 MiB a hash, hence the gate of two at a time.
_hasher = PasswordHasher()
_gate = BoundedSemaphore(2)
_nobody: list[str] = []


def hash_password(password: str) -> str:
    with _gate:
        return _hasher.hash(password)


def check_new(password: str) -> None:
    """`InvalidInput` says what is wrong with a password that somebody chose."""
    if len(password) < MIN_LENGTH:
        raise InvalidInput(f"the password is too short: at least {MIN_LENGTH} characters")
    if len(password) > MAX_LENGTH:
        raise InvalidInput(f"the password is too long: at most {MAX_LENGTH} characters")
    if "\n" in password or "\0" in password:
        raise InvalidInput("the password has a line break in it")


def generate() -> str:
    """A password to be printed once: 120 bits of chance."""
    return secrets.token_urlsafe(15)


def matches(password_hash: str | None, password: str) -> bool:
    """Whether it is the one; with no hash (unknown account) it works as long, and says no."""
    try:
        readable = len(password.encode()) <= 4 * MAX_LENGTH
    except UnicodeEncodeError:
        readable = False
    if not readable:
        password, password_hash = "", None
    if password_hash is None:
        if not _nobody:
            _nobody.append(hash_password(secrets.token_urlsafe(15)))
        stored = _nobody[0]
    else:
        stored = password_hash
    try:
        with _gate:
            right = _hasher.verify(stored, password)
    except (VerificationError, InvalidHashError):
        return False
    return right and password_hash is not None


def outdated(password_hash: str) -> bool:
    """Whether the hash was made with weaker parameters than today's."""
    return _hasher.check_needs_rehash(password_hash)
