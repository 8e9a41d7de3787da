"""What a channel says to the host."""

from collections.abc import Callable

from paramiko import common
from paramiko.message import Message

from hps_platform.ssh.channel import Channel


class _Connection:
    """Keeps what is sent; `meanwhile` is what another thread does just then."""

    def __init__(self) -> None:
        self.kinds: list[int] = []
        self.meanwhile: Callable[[], None] | None = None

    def send_held(self, message: Message) -> None:
        self.kinds.append(message.asbytes()[0])
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile()


def _running(connection: _Connection) -> Channel:
    channel = Channel(connection, "vmstat 5", lambda: None, with_stderr=True)
    channel.confirmed(0)
    channel.decided()
    return channel


def test_a_command_that_both_sides_end_at_once_is_closed_once() -> None:
    connection = _Connection()
    channel = _running(connection)
    connection.meanwhile = channel.finished

    channel.close()

    assert connection.kinds.count(common.MSG_CHANNEL_CLOSE) == 1


def test_a_command_given_up_before_it_began_is_closed_when_it_does() -> None:
    connection = _Connection()
    channel = Channel(connection, "vmstat 5", lambda: None, with_stderr=True)

    channel.close()
    assert connection.kinds == []
    channel.confirmed(0)
    channel.finished()

    assert connection.kinds == [common.MSG_CHANNEL_EOF, common.MSG_CHANNEL_CLOSE]
