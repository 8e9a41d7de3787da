"""What hosts say of themselves."""

import shutil
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hps_platform.dialects import IDENTIFY, Host, identify, identity
from hps_platform.errors import InvalidInput


@pytest.mark.parametrize(
    ("text", "host"),
    [
        (
            "AIX lpar07 2 7 00F6AB124C00\nhps.node=lpar07\nhps.level=7200-05-03-2148\n"
            "hps.processor=powerpc\nhps.cpus=16\n",
            Host("aix", "7.2 (7200-05-03-2148)", "powerpc", "lpar07", 16),
        ),
        (
            "Linux web1 5.14.0-362.el9.x86_64 #1 SMP x86_64 x86_64 x86_64 GNU/Linux\nhps.node=web1.example.org\n"
            "hps.level=Rocky Linux 9.3\nhps.processor=x86_64\nhps.cpus=4\n",
            Host("linux", "Rocky Linux 9.3", "x86_64", "web1.example.org", 4),
        ),
        (
            "SunOS sol3 5.11 11.4.0.15.0 sun4v sparc sun4v\nhps.node=sol3\nhps.level=\n"
            "hps.processor=sparc\nhps.cpus=64\n",
            Host("solaris", "5.11 (11.4.0.15.0)", "sparc", "sol3", 64),
        ),
        (
            "*** authorised use only ***\r\nHP-UX hpx2 B.11.31 U ia64 0123456789 unlimited-user license\r\n"
            "hps.node=hpx2\r\nhps.level=\r\nhps.processor=ia64\r\nhps.cpus=0\r\n",
            Host("hpux", "B.11.31", "ia64", "hpx2", None),
        ),
        (
            "FreeBSD bsd4 13.2-RELEASE-p4 FreeBSD 13.2-RELEASE-p4 GENERIC  amd64\nhps.node=bsd4\n"
            "hps.level=13.2-RELEASE-p5\nhps.processor=amd64\nhps.cpus=8\n",
            Host("freebsd", "13.2-RELEASE-p5", "amd64", "bsd4", 8),
        ),
        (
            "FreeBSD bsd1 9.3-RELEASE FreeBSD 9.3-RELEASE #0 r268512: Thu Jul 10 23:44:39 UTC 2014     "
            "root@snap.example.org:/usr/obj/usr/src/sys/GENERIC  i386\n",
            Host("freebsd", "9.3-RELEASE", "i386", "bsd1", None),
        ),
        ("AIX old1 3 5 000B7C4F4C00\n", Host("aix", "5.3", "powerpc", "old1", None)),
        (
            "Linux box 4.18.0 #1 SMP Fri Jan 5 10:00:00 UTC 2024 aarch64 GNU/Linux\n",
            Host("linux", "4.18.0", "aarch64", "box", None),
        ),
    ],
)
def test_hosts(text: str, host: Host) -> None:
    assert identify(text) == host


@pytest.mark.parametrize("text", ["", "NetBSD nbsd1 9.3 amd64\n", "sh: uname: not found\n"])
def test_systems_without_dialect(text: str) -> None:
    with pytest.raises(InvalidInput, match="uname"):
        identify(text)


def test_the_hosts_clock_is_no_part_of_who_it_is() -> None:
    answer = "AIX old1 3 5 000B7C4F4C00\nhps.clock={}\n"
    early, late, mute = (identify(answer.format(clock)) for clock in ("2024-03-01T00:00:10", "2024-03-01T00:00:17", ""))

    assert early.clock == datetime(2024, 3, 1, 0, 0, 10, tzinfo=UTC).timestamp()
    assert late.clock == early.clock + 7
    assert mute.clock is None
    assert early == late == mute


def _program(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)


def test_tools_are_found_on_the_search_path_and_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _program(tmp_path / "some bin" / "vmstat")
    _program(tmp_path / "busybox")
    (tmp_path / "some bin" / "ps").symlink_to(tmp_path / "busybox")
    _program(tmp_path / "sbin" / "iostat")
    (tmp_path / "some bin" / "df").write_text("not for execution")
    wanted = ("vmstat", "ps", "df", "iostat", "nothing", "/proc/self/status", "/proc/nothing")
    monkeypatch.setattr(identity, "_ELSEWHERE", f"/nowhere:{tmp_path}/sbin")
    # The shell's own programs stay in reach, and none of those that are looked for.
    for program in ("uname", "grep", "ls", "date"):
        (tmp_path / "some bin" / program).symlink_to(str(shutil.which(program)))

    answer = subprocess.run(
        ["/bin/sh", "-c", identity.question({"linux": wanted}).replace("sh -c", "/bin/sh -c")],
        env={"PATH": f"/nowhere:{tmp_path}/some bin"},
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )

    assert answer.stderr == ""
    assert identify(answer.stdout).tools == {
        "vmstat",
        "ps",
        "busybox:ps",
        f"{tmp_path}/sbin/iostat",
        "/proc/self/status",
    }


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_this_machine(shell: str) -> None:
    answer = subprocess.run([shell, "-c", IDENTIFY], capture_output=True, text=True, check=False, timeout=20)

    host = identify(answer.stdout)

    assert host.operating_system == "linux"
    assert host.cpus is not None
    assert host.cpus >= 1
    assert host.hostname
    assert host.architecture
    assert {"df", "/proc/meminfo"} <= host.tools
    assert host.clock is not None
    assert abs(host.clock - time.time()) < 20
    assert answer.stderr == ""
