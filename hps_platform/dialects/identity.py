"""What a host says of itself: the one command that works on every system, and how its answer is read.

Which tools to ask for is the dialects' business; what to make of those that are there is `plan`'s.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from hps_platform.dialects.text import clean, first_line
from hps_platform.errors import InvalidInput

_FACTS = {
    "AIX": "l=`oslevel -s 2>/dev/null`; m=`uname -p`; c=`lsdev -Cc processor 2>/dev/null | grep -c Available`",
    # The release file of RHEL 4 to 6 is one line; `os-release` came with systemd.
    "Linux": "for r in /etc/redhat-release /etc/SuSE-release; do [ -r $r ] && read l < $r; done; "
    "if [ -r /etc/os-release ]; then . /etc/os-release; l=$PRETTY_NAME; fi; "
    "m=`uname -m`; c=`grep -c ^processor /proc/cpuinfo 2>/dev/null`",
    "SunOS": "m=`uname -p`; c=`psrinfo 2>/dev/null | grep -c on-line`",
    "HP-UX": "m=`uname -m`; c=`/usr/sbin/ioscan -kC processor 2>/dev/null | grep -c processor`",
    "FreeBSD": "l=`freebsd-version -u 2>/dev/null`; m=`uname -m`; c=`sysctl -n hw.ncpu`",
}
"""What each system's shell does to find its level (`l`), processor (`m`) and number of processors (`c`)."""

_ELSEWHERE = "/usr/bin:/bin:/usr/sbin:/sbin:/usr/local/bin:/usr/local/sbin:/usr/contrib/bin"
"""Where programs lie that a non-interactive login's search path may lack."""

SYSTEMS = {"AIX": "aix", "Linux": "linux", "SunOS": "solaris", "HP-UX": "hpux", "FreeBSD": "freebsd"}
_UNAME = re.compile(r"(AIX|Linux|SunOS|HP-UX|FreeBSD) (\S+) (\S+)(?: (\S+))?(?: (\S+))?.*")
_FACT = re.compile(r"hps\.(\w+)=(.*)")


def question(tools: Mapping[str, Iterable[str]]) -> str:
    """The command that asks a host who it is and which of `tools` (programs and files, by dialect) it has.

    It reads only, in words that a Bourne shell of the nineties knows, whatever the account's own shell is. The answer
    is what `uname -a` prints, then lines `hps.<name>=<value>`. A program of the search path is told by its name, one
    from elsewhere with its path; an applet of busybox is told as `busybox:<name>`, too.
    """
    cases = " ".join(
        f"{system}) {facts}; t={':'.join(sorted(tools.get(SYSTEMS[system], ())))};;" for system, facts in _FACTS.items()
    )
    return (
        "uname -a; sh -c '"
        "LC_ALL=C; export LC_ALL; l=; m=; c=; t=; "
        f"case `uname -s` in {cases} esac; "
        'echo "hps.node=`uname -n`"; echo "hps.level=$l"; echo "hps.processor=$m"; echo "hps.cpus=$c"; '
        f"IFS=:; p=$PATH:+:{_ELSEWHERE}; f=; "
        "for n in $t; do w=$n; "
        'case $n in /*) [ -r $n ] && f="$f $n";; '
        '*) for d in $p; do if [ "x$d" = x+ ]; then w=; '
        'elif [ -x "$d/$n" ]; then f="$f ${w:-$d/$n}"; '
        '[ -h "$d/$n" ] && case `ls -l "$d/$n"` in *busybox*) f="$f busybox:$n";; esac; '
        "break; fi; done;; esac; done; "
        'echo "hps.tools=$f"; '
        'echo "hps.clock=`date -u +%Y-%m-%dT%H:%M:%S`"'
        "'"
    )


@dataclass(frozen=True, slots=True)
class Host:
    """`version` as people call it (`7.2`, `5.11`); `cpus` is the number of processors online, where it was told.

    `tools` as `plan` takes them; none where the host did not tell. `clock` is the host's time in epoch seconds when it
    answered, and no part of who it is.
    """

    operating_system: str
    version: str
    architecture: str
    hostname: str
    cpus: int | None
    tools: frozenset[str] = frozenset()
    clock: float | None = field(default=None, compare=False)

    def tools_for(self, system: str) -> frozenset[str]:
        """Its tools, for a plan of `system`: those of a host that is entered as another one say nothing of that."""
        return self.tools if system == self.operating_system else frozenset()


def _version(system: str, release: str, version: str, level: str) -> str:
    if system == "AIX":
        return f"{version}.{release} ({level})" if level else f"{version}.{release}"
    if system in ("Linux", "FreeBSD"):
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
    elif system == "FreeBSD":
        machine = found.group().split()[-1]
    cpus = facts.get("cpus", "")
    return Host(
        operating_system=SYSTEMS[system],
        version=_version(system, release, version, facts.get("level", "")),
        architecture=facts.get("processor") or machine,
        hostname=facts.get("node") or node,
        cpus=int(cpus) if cpus.isascii() and cpus.isdigit() and int(cpus) > 0 else None,
        tools=frozenset(facts.get("tools", "").split()),
        clock=_clock(facts.get("clock", "")),
    )


def _clock(told: str) -> float | None:
    try:
        return datetime.strptime(told, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None
