"""What a host says of itself: the one command that works on every system, and how its answer is read."""

import re
from dataclasses import dataclass

from hps_platform.dialects.text import clean, first_line
from hps_platform.errors import InvalidInput

IDENTIFY = (
    "uname -a; "
    'echo "hps.node=`uname -n`"; '
    "case `uname -s` in "
    'AIX) echo "hps.level=`oslevel -s 2>/dev/null`"; echo "hps.processor=`uname -p`"; '
    'echo "hps.cpus=`lsdev -Cc processor 2>/dev/null | grep -c Available`";; '
    'Linux) echo "hps.level=`. /etc/os-release 2>/dev/null; echo $PRETTY_NAME`"; echo "hps.processor=`uname -m`"; '
    'echo "hps.cpus=`grep -c ^processor /proc/cpuinfo 2>/dev/null`";; '
    'SunOS) echo "hps.level="; echo "hps.processor=`uname -p`"; '
    'echo "hps.cpus=`psrinfo 2>/dev/null | grep -c on-line`";; '
    'HP-UX) echo "hps.level="; echo "hps.processor=`uname -m`"; '
    'echo "hps.cpus=`/usr/sbin/ioscan -kC processor 2>/dev/null | grep -c processor`";; '
    "esac"
)
"""Reads only. Its answer is what `uname -a` prints, then lines `hps.<name>=<value>`."""

_SYSTEMS = {"AIX": "aix", "Linux": "linux", "SunOS": "solaris", "HP-UX": "hpux"}
_UNAME = re.compile(r"(AIX|Linux|SunOS|HP-UX) (\S+) (\S+)(?: (\S+))?(?: (\S+))?.*")
_FACT = re.compile(r"hps\.(\w+)=(.*)")


@dataclass(frozen=True, slots=True)
class Host:
    """`version` as people call it (`7.2`, `5.11`); `cpus` is the number of processors online, where it was told."""

    operating_system: str
    version: str
    architecture: str
    hostname: str
    cpus: int | None


def _version(system: str, release: str, version: str, level: str) -> str:
    if system == "AIX":
        return f"{version}.{release} ({level})" if level else f"{version}.{release}"
    if system == "Linux":
        return level or release
    if system == "SunOS":
        return f"{release} ({version})" if version.startswith(("11", "Generic")) else release
    return release


def identify(text: str) -> Host:
    """The host behind the answer to `IDENTIFY`, or to `uname -a`; banners before it are passed over.

    Raises `InvalidInput` when no known system is named.
    """
    found: re.Match[str] | None = None
    facts: dict[str, str] = {}
    for line in clean(text).split("\n"):
        if found is None and (match := _UNAME.fullmatch(line.strip())):
            found = match
        elif match := _FACT.fullmatch(line.strip()):
            facts[match[1]] = match[2].strip()
    if found is None:
        raise InvalidInput(f"no system we know in the answer to uname: {first_line(text)!r}")
    system, node, release, version, machine = (group or "" for group in found.groups())
    if system == "Linux":
        words = found.group().split()
        machine = next((word for word in reversed(words) if word not in ("GNU/Linux", "unknown")), "")
    elif system == "AIX":
        machine = "powerpc"
    cpus = facts.get("cpus", "")
    return Host(
        operating_system=_SYSTEMS[system],
        version=_version(system, release, version, facts.get("level", "")),
        architecture=facts.get("processor") or machine,
        hostname=facts.get("node") or node,
        cpus=int(cpus) if cpus.isascii() and cpus.isdigit() and int(cpus) > 0 else None,
    )
