"""Who is asking: the signed-in user of the request or socket that runs at the moment.

The guard in `dash_app.guard` enters the user into a context variable, which follows the request into endpoints, Dash
callbacks (HTTP and WebSocket, sync and async) and `asyncio.to_thread`.
"""

from contextvars import ContextVar, Token

from hps_platform.access import User
from hps_platform.errors import Unauthenticated

COOKIE = "hps_session"
"""Name of the browser's session cookie; its value is a random token, stored as a hash only."""

_user: ContextVar[User | None] = ContextVar("hps_current_user", default=None)


def current_user() -> User:
    """The user behind the running request; `Unauthenticated` outside of one."""
    user = _user.get()
    if user is None:
        raise Unauthenticated("nobody is signed in here")
    return user


def enter(user: User | None) -> Token[User | None]:
    """For the guard only: `user` asks from here on; `leave` takes the result back."""
    return _user.set(user)


def leave(token: Token[User | None]) -> None:
    _user.reset(token)
