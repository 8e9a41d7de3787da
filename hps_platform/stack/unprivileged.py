"""How a program that refuses to run as root is run by root: PostgreSQL.

First choice is a user namespace in which root is mapped to an ordinary number: files stay owned by root, so a data
directory below a closed home directory works as it is. Where the kernel refuses that, the `postgres` account runs the
program, with its data in a folder that this account can reach. No permission of an existing directory is changed.
"""

import hashlib
import logging
import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from hps_platform.errors import StackError

log = logging.getLogger(__name__)

NAMESPACE = ("unshare", "-U", "--map-user=1000", "--map-group=1000")
ACCOUNT = "postgres"
FALLBACK_PARENT = Path("/var/lib/hps-platform")


@dataclass(frozen=True, slots=True)
class Confinement:
    """How to run the program (`prefix` goes before its command line) and which folder it may keep its data in."""

    prefix: tuple[str, ...]
    folder: Path
    account: str | None = None

    @property
    def note(self) -> str:
        """What `hps status` adds when the data is not below the data directory; empty otherwise."""
        return f"runs as {self.account}, data in {self.folder}" if self.account else ""

    def can_run(self, *command: str) -> bool:
        """Whether the command ends with 0 under this confinement."""
        try:
            done = subprocess.run([*self.prefix, *command], capture_output=True, timeout=30, check=False, cwd="/")
        except (OSError, subprocess.TimeoutExpired) as error:
            log.debug("%s can't be run: %s", command[0], error)
            return False
        return done.returncode == 0

    def write(self, path: Path, text: str, *, append: bool = False) -> None:
        """Write a file as the program itself would: root never opens a path in a folder that another account owns."""
        redirect = 'umask 077; cat >> "$1"' if append else 'umask 077; cat > "$1"'
        try:
            subprocess.run(
                [*self.prefix, "sh", "-c", redirect, "sh", str(path)],
                input=text.encode(),
                capture_output=True,
                check=True,
                cwd="/",
            )
        except subprocess.CalledProcessError as error:
            raise StackError(f"{path} can't be written: {error.stderr.decode(errors='replace').strip()}") from error


def fallback_folder(folder: Path, parent: Path = FALLBACK_PARENT) -> Path:
    """Where the account keeps what would be in `folder`: one place for each, so that stacks don't meet."""
    return parent / hashlib.sha256(str(folder.absolute()).encode()).hexdigest()[:16]


def confine(folder: Path, *, namespace: tuple[str, ...] = NAMESPACE, parent: Path = FALLBACK_PARENT) -> Confinement:
    """How to run a program that keeps its data in `folder`; creates that folder, or the account's.

    A folder that an earlier start gave to the account stays in use: data does not move by itself.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if os.geteuid() != 0:
        return Confinement((), folder)
    elsewhere = fallback_folder(folder, parent)
    inside = Confinement(namespace, folder)
    if not elsewhere.exists() and inside.can_run("sh", "-c", 'test -w "$1" && test -x "$1"', "sh", str(folder)):
        return inside
    try:
        owner = pwd.getpwnam(ACCOUNT)
    except KeyError as error:
        raise StackError(
            "PostgreSQL does not run as root, the kernel refuses user namespaces, and there is no account "
            f"'{ACCOUNT}': start as an ordinary user, or create it (useradd --system {ACCOUNT})"
        ) from error
    outside = Confinement(
        ("setpriv", f"--reuid={owner.pw_uid}", f"--regid={owner.pw_gid}", "--clear-groups"), elsewhere, ACCOUNT
    )
    if not elsewhere.exists():
        parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        elsewhere.mkdir(mode=0o700)
        os.chown(elsewhere, owner.pw_uid, owner.pw_gid)
    if not outside.can_run("sh", "-c", 'test -w "$1" && test -x "$1"', "sh", str(elsewhere)):
        raise StackError(f"the account {ACCOUNT} can't write to {elsewhere}: check the permissions on the way to it")
    return outside


def remove_fallback(folder: Path, parent: Path = FALLBACK_PARENT) -> list[Path]:
    """Remove what `confine` made outside `folder` for it, programs included; the folders that were removed."""
    elsewhere = fallback_folder(folder, parent)
    found = [path for path in (elsewhere, elsewhere.with_name(f"{elsewhere.name}-programs")) if path.exists()]
    for path in found:
        shutil.rmtree(path)
    return found
