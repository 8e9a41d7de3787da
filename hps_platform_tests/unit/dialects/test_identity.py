"""What hosts say of themselves."""

import subprocess

import pytest

from hps_platform.dialects import IDENTIFY, Host, identify
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
        ("AIX old1 3 5 000B7C4F4C00\n", Host("aix", "5.3", "powerpc", "old1", None)),
        (
            "Linux box 4.18.0 #1 SMP Fri Jan 5 10:00:00 UTC 2024 aarch64 GNU/Linux\n",
            Host("linux", "4.18.0", "aarch64", "box", None),
        ),
    ],
)
def test_hosts(text: str, host: Host) -> None:
    assert identify(text) == host


@pytest.mark.parametrize("text", ["", "FreeBSD fbsd1 14.0-RELEASE amd64\n", "sh: uname: not found\n"])
def test_systems_without_dialect(text: str) -> None:
    with pytest.raises(InvalidInput, match="uname"):
        identify(text)


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_this_machine(shell: str) -> None:
    answer = subprocess.run([shell, "-c", IDENTIFY], capture_output=True, text=True, check=False, timeout=20)

    host = identify(answer.stdout)

    assert host.operating_system == "linux"
    assert host.cpus is not None
    assert host.cpus >= 1
    assert host.hostname
    assert host.architecture
    assert answer.stderr == ""
