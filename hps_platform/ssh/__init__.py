"""SSH: the only place that speaks it. Sessions with a pinned host key, commands, and streams for an event loop.

One `Session` is one connection; any number of commands run on it at once. A host key is never accepted on sight: it
is the pinned one, or nobody logs in; that holds for each jump host on the way as well. Nothing is looked up in an agent
or in `~/.ssh`. What a pin may be belongs to `hps_platform.host_keys`; what to run, and when to try again, to
`hps_platform.collector`.

`handshake` proves the host, `login` the account, `session` joins them; what happens on the connection afterwards, with
or without a thread, stands in `connection`, `channel` and `reactor`.
"""

from hps_platform.ssh.channel import Channel
from hps_platform.ssh.handshake import Target, greeting, tune
from hps_platform.ssh.reactor import Reactor
from hps_platform.ssh.session import Result, Session, fingerprints

__all__ = ["Channel", "Reactor", "Result", "Session", "Target", "fingerprints", "greeting", "tune"]
