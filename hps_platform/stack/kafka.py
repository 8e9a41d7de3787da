"""The embedded Apache Kafka: one node that is broker and controller (KRaft), below the data directory.

Topics and messages belong to `hps_platform.stream`; here is only the process: its Java, jars, files and health.
"""

import base64
import hashlib
import logging
import os
import shutil
import signal
import socket
import struct
import subprocess
import time
import uuid
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

from hps_platform.errors import StackError
from hps_platform.stack import jars
from hps_platform.stack.java import Java, find_java

log = logging.getLogger(__name__)

START_TIMEOUT_S = 120
_JVM = ("-Xmx512m", "-Xms256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:+ExitOnOutOfMemoryError")

_QUIET_ABOUT_SHARING = ("-Xlog:cds=off", "-Xlog:cds+dynamic=off")
"""An archive that does not fit, or can't be written, costs a second and is nobody's concern."""

_PROPERTIES = """\
# Written at every start of the stack.
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers={host}:{controller_port}
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}
advertised.listeners=PLAINTEXT://{host}:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
log.dirs={logs}
auto.create.topics.enable=false
# One node: nothing can have a second copy.
default.replication.factor=1
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
offsets.topic.num.partitions=8
transaction.state.log.num.partitions=8
group.initial.rebalance.delay.ms=0
# After kill -9 the broker waits for its own former session to end: 4 s like this, 12 s by default.
broker.session.timeout.ms=2500
broker.heartbeat.interval.ms=500
log.segment.bytes=134217728
# The default of 128 MB would be a quarter of the heap.
log.cleaner.dedupe.buffer.size=16777216
num.network.threads=2
num.io.threads=4
"""

_LOGGING = """\
<?xml version="1.0" encoding="UTF-8"?>
<Configuration status="WARN" shutdownHook="disable">
  <Appenders>
    <Console name="out"><PatternLayout pattern="%d{yyyy-MM-dd HH:mm:ss,SSS} %p %c{1}: %m%n"/></Console>
  </Appenders>
  <Loggers>
    <Root level="WARN"><AppenderRef ref="out"/></Root>
    <Logger name="kafka.server.KafkaRaftServer" level="INFO"/>
    <Logger name="org.apache.kafka.storage.internals.log.LogManager" level="WARN"/>
    <Logger name="org.apache.kafka.common.utils.AppInfoParser" level="ERROR"/>
  </Loggers>
</Configuration>
"""


class Kafka:
    """One broker in `<root>`; `prepare()`, then `command()` for a supervisor or `start()`/`stop()`."""

    def __init__(
        self,
        root: Path,
        *,
        port: int,
        controller_port: int,
        java_home: Path | None = None,
        host: str = "127.0.0.1",
        cache: Path | None = None,
    ) -> None:
        self.root, self.port, self.controller_port, self.host = root, port, controller_port, host
        self._java_home, self._cache = java_home, cache
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        return f"{self.host}:{self.port}"

    @cached_property
    def _java(self) -> Java:
        return find_java(self._java_home)

    @cached_property
    def _shared_classes(self) -> Path:
        """Kafka's classes as this Java reads them fastest: half the CPU of a start goes into loading them otherwise.

        The storage tool leaves them behind where they are missing. Java itself checks that they fit.
        """
        made_for = f"{self._java.program} {self._java.version} {jars.LOCK.read_text()}"
        name = f"classes-{hashlib.sha256(made_for.encode()).hexdigest()[:16]}.jsa"
        return (self._cache or jars.cache_folder()) / name

    def prepare(self, progress: Callable[[str], None] = lambda _: None) -> None:
        """Fetch what is missing, write the configuration, format the storage where that was not done. Idempotent."""
        self._classpath = os.pathsep.join(map(str, jars.classpath(self._cache, progress)))
        logs = self.root / "data"
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._properties.write_text(
            _PROPERTIES.format(host=self.host, port=self.port, controller_port=self.controller_port, logs=logs)
        )
        self._logging.write_text(_LOGGING)
        if not (logs / "meta.properties").exists():
            # A format that was cut off leaves files that a second one refuses.
            shutil.rmtree(logs, ignore_errors=True)
            self._tool("format", "-t", _cluster_id(), "-c", str(self._properties), "--standalone")

    @property
    def _properties(self) -> Path:
        return self.root / "server.properties"

    @property
    def _logging(self) -> Path:
        return self.root / "log4j2.xml"

    def _java_command(self, *jvm: str) -> list[str]:
        logging_file = f"-Dlog4j2.configurationFile={self._logging}"
        shared: tuple[str, ...] = ()
        if self._shared_classes.exists():
            shared = (f"-XX:SharedArchiveFile={self._shared_classes}", *_QUIET_ABOUT_SHARING)
        return [str(self._java.program), *jvm, *shared, logging_file, "-cp", self._classpath]

    def _tool(self, *arguments: str) -> None:
        """Run Kafka's storage tool."""
        jvm = ["-XX:TieredStopAtLevel=1"]
        made = self._shared_classes.with_suffix(f".{os.getpid()}")
        if not self._shared_classes.exists():
            jvm += [f"-XX:ArchiveClassesAtExit={made}", *_QUIET_ABOUT_SHARING]
        command = [*self._java_command(*jvm), "kafka.tools.StorageTool", *arguments]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=START_TIMEOUT_S)
            if made.exists() and done.returncode == 0:
                made.replace(self._shared_classes)
        finally:
            made.unlink(missing_ok=True)
        if done.returncode != 0:
            said = (done.stderr.strip() or done.stdout.strip()).splitlines()
            raise StackError(f"Kafka's storage tool failed: {said[-1] if said else done.returncode}")

    def command(self) -> list[str]:
        """The broker in the foreground; after `prepare()`. SIGTERM ends it in order."""
        jvm = (*_JVM, f"-Dkafka.logs.dir={self.root / 'logs'}")
        return [*self._java_command(*jvm), "kafka.Kafka", str(self._properties)]

    def start(self) -> None:
        """Start in the background and return when requests are answered (for tests and short jobs)."""
        logged = self.root / "kafka.log"
        with logged.open("wb") as output:
            self._process = subprocess.Popen(self.command(), stdout=output, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self.ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                tail = logged.read_text(errors="replace").strip().splitlines()[-1:]
                self.stop()
                raise StackError(f"Kafka did not start: {' '.join(tail)}")
            time.sleep(0.1)

    def stop(self) -> None:
        """End what `start()` started."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
        self._process = None

    def ready(self) -> bool:
        """Whether the broker answers requests."""
        return answers(self.host, self.port)


def _cluster_id() -> str:
    """A UUID as `kafka.tools.StorageTool random-uuid` prints them, without a Java of its own: base64, no dash first."""
    while (text := base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()).startswith("-"):
        pass
    return text


def answers(host: str, port: int, timeout_s: float = 2.0) -> bool:
    """Whether a Kafka broker answers an ApiVersions request (protocol guide: key 18, version 0).

    Asked by hand because a full client takes a second to notice and writes every refused connection to the log.
    """
    client = b"hps-health"
    request = struct.pack(">hhih", 18, 0, 1, len(client)) + client
    try:
        with socket.create_connection((host, port), timeout_s) as connection:
            connection.settimeout(timeout_s)
            connection.sendall(struct.pack(">i", len(request)) + request)
            reply = connection.recv(10)
    except OSError:
        return False
    return len(reply) == 10 and struct.unpack(">iih", reply)[1:] == (1, 0)
