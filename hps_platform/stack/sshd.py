"""This machine as a monitored host: a private OpenSSH server on a high loopback port, with its own host key.

It lets in one key and one account, the one that runs the stack. Works as root and as an ordinary user; the machine's
own sshd and its configuration are not touched.
"""

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from hps_platform.errors import StackError
from hps_platform.stack.services import Health, Service

_PROGRAMS = ("/usr/sbin/sshd", "/usr/local/sbin/sshd", "/usr/bin/sshd")

_CONFIGURATION = """\
# Written at every start of the demo.
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
AllowUsers {account}
PidFile none
AuthenticationMethods publickey
PubkeyAuthentication yes
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
# The key files lie in the data directory, whose parents may be open to a group.
StrictModes no
UsePAM no
PrintMotd no
X11Forwarding no
AllowTcpForwarding no
AllowAgentForwarding no
LogLevel INFO
"""


@dataclass(frozen=True, slots=True)
class LocalSsh:
    """The server, and what a client needs to log in."""

    service: Service
    port: int
    username: str
    private_key: str
    host_key: str


def find_sshd() -> Path | None:
    """The OpenSSH server, where one is installed."""
    found = shutil.which("sshd")
    return Path(found) if found else next((Path(path) for path in _PROGRAMS if Path(path).is_file()), None)


def prepare(folder: Path, port: int, *, home: Path | None = None) -> LocalSsh | None:
    """Make keys (once) and configuration in `folder`; None where there is no OpenSSH server.

    `home` stands in for the account's home directory, with the start-up files that its shell reads for each command.
    """
    program = find_sshd()
    if program is None or shutil.which("ssh-keygen") is None:
        return None
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    account = pwd.getpwuid(os.geteuid()).pw_name
    for name in ("host_key", "client_key"):
        _make_key(folder / name)
    (folder / "authorized_keys").write_text((folder / "client_key.pub").read_text())
    at_home = f"SetEnv HOME={home}\n" if home else ""
    (folder / "sshd_config").write_text(_CONFIGURATION.format(port=port, folder=folder, account=account) + at_home)
    if os.geteuid() == 0:
        # Debian's package makes it at boot; sshd refuses to start as root without it.
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    command = (str(program), "-D", "-e", "-f", str(folder / "sshd_config"))
    return LocalSsh(
        service=Service(
            "sshd", command, Health("ssh", f"127.0.0.1:{port}", "this machine answers over SSH"), port=port
        ),
        port=port,
        username=account,
        private_key=(folder / "client_key").read_text(),
        host_key=" ".join((folder / "host_key.pub").read_text().split()[:2]),
    )


def _make_key(path: Path) -> None:
    if path.exists() and path.with_suffix(".pub").exists():
        return
    path.unlink(missing_ok=True)
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "hps-demo", "-f", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise StackError(f"ssh-keygen failed: {done.stderr.strip()}")
