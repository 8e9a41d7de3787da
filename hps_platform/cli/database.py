"""What commands share: the platform's database for the length of one command, and the keys of what is secret in it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hps_platform import settings
from hps_platform.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from hps_platform.store.database import Database
    from hps_platform.store.secrets import SecretBox


@contextmanager
def database(name: str = "hps") -> "Iterator[Database]":
    """Raises `DatabaseUnavailable` at once where no server listens: a person waits, and nothing will start it."""
    from hps_platform.store.database import Database, address, session

    dsn = settings.load().dsn()
    try:
        with session(dsn, application_name=name):
            pass
    except DatabaseUnavailable as error:
        raise DatabaseUnavailable(
            f"no PostgreSQL answers at {address(dsn)}: `hps status` shows the stack, `hps up` starts it ({error})"
        ) from error
    with Database(dsn, max_size=1, application_name=name) as db:
        yield db


def secret_box() -> "SecretBox":
    """Opens and closes stored secrets. Raises `SettingsError` without a key."""
    from hps_platform.store.secrets import SecretBox

    return SecretBox(settings.load().field_encryption_key)
