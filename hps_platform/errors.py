"""The one tree of errors.

What is wrong and what to do about it, in one line of text; `retryable` says whether doing the same again later can
help. They are caught at boundaries only: a host's family in the collector, an asset, a REST handler, a page's
callback, the command line. HTTP status codes belong to `dash_app.api`, exit codes to `hps_platform.cli`.
"""

import logging
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import ClassVar


class HpsError(Exception):
    """Any failure that HPS Platform itself explains; `str(error)` is a sentence for a person."""

    retryable: ClassVar[bool] = False


class SettingsError(HpsError):
    """A setting has a value that can't be used; the text names the variable."""


class InvalidInput(HpsError):
    """A request can't be carried out as it was put."""


class NotFound(HpsError):
    """What was asked for doesn't exist."""


class Conflict(HpsError):
    """It exists already, or something else stands in the way."""


class Unauthenticated(HpsError):
    """No credentials, or wrong ones."""


class Forbidden(HpsError):
    """Known, but not allowed."""


class TooManyAttempts(HpsError):
    """Refused for a while after repeated failures; the same may be tried again after `retry_after_s`."""

    retryable = True

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Unavailable(HpsError):
    """An outside system does not answer at the moment."""

    retryable = True


class DatabaseUnavailable(Unavailable):
    """PostgreSQL refuses connections or went away."""


class QueryTimeout(DatabaseUnavailable):
    """PostgreSQL gave up on a query that took longer than it may."""


class KafkaUnavailable(Unavailable):
    """No broker answers, or it refused a request."""


class RegistryUnavailable(Unavailable):
    """The MLflow server does not answer."""


class ArchiveUnavailable(Unavailable):
    """The place where archived days lie can't be reached or refuses a file."""


class ArchiveDamaged(HpsError):
    """An archived file is gone, or is not what was archived; the text names it."""


class FencedOut(HpsError):
    """Another run has taken over the work; this one must stop without writing."""


class ModelNotFound(NotFound):
    """No model of that name, version or alias is registered."""


class ModelUntrusted(HpsError):
    """A model's file is not the one that was registered, or of another release: it is not loaded."""


class NotEnoughData(HpsError):
    """The range holds too few samples for what was asked; the text says how many there are and are needed."""


class SshError(HpsError):
    """Something went wrong between the collector and a host."""


class HostUnreachable(SshError):
    """No connection: refused, timed out, no route, name unknown, or the connection broke."""

    retryable = True


class HostKeyUnknown(SshError):
    """No host key is pinned for this host, so nobody logs in; the text carries the fingerprint that it showed."""


class HostKeyChanged(SshError):
    """The host shows another key than the pinned one."""


class AuthenticationFailed(SshError):
    """The host refuses the account or its key."""


class CommandTimeout(SshError):
    """A command did not end in its time."""

    retryable = True


class StackError(HpsError):
    """A service of the local stack can't be started or stopped."""


class PortInUse(StackError):
    """Another process listens on a port that a service needs; the text names port and process."""


@contextmanager
def one_of_many(
    failed: MutableMapping[str, str],
    name: str,
    log: logging.Logger,
    doing: str,
    *,
    but: type[HpsError] | tuple[type[HpsError], ...] = (),
) -> Iterator[None]:
    """Work on one of many servers, whose failure must not cost the others theirs: it goes into `failed` under its name.

    A retryable error concerns all and goes on, unless it is one of `but`. What nobody foresaw is logged as well.
    """
    try:
        yield
    except HpsError as error:
        if error.retryable and not isinstance(error, but):
            raise
        failed[name] = str(error)
    except Exception as error:  # one server's odd data
        log.exception("%s %s failed", doing, name)
        failed[name] = f"{type(error).__name__}: {error}"
