"""Damages captured outputs at random and parses them: counts crashes, hangs, rows of failed outputs and untrue rows.

`python scripts/fuzz_dialects.py [--inputs 1000000] [--more FOLDER]`: of the project's own fixtures, and of those of
a folder with an INDEX.tsv (path, os, …, command) where one is given. Prints one JSON object; exit 1 when anything is
wrong, with the seed and the damaged text that shows it in `--failures`. The same damage as unit tests, in their
thousands, is `hps_platform_tests/unit/dialects/test_damage.py`.
"""

import argparse
import csv
import json
import math
import multiprocessing
import random
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from hps_platform.dialects import SYSTEMS, Outcome, parse
from hps_platform_tests.unit.dialects.cases import cases
from hps_platform_tests.unit.dialects.evidence import contradictions

LONGEST_S = 5
"""A parse that takes longer, in CPU time, hangs."""

_BANNER = ("ksh: not enough space", "You have mail.", "*** maintenance ***", "df: /x: Stale file handle", "", "\t")
_NOISE = ("\x1b[0m", "\x1b[K", "\x00", "\r", "\x1b]0;t\x07", "\ufffd", "\xa0", "é")
_CELLS = ("-", "--", "nan", "inf", "-3", "18446744073709551615", "1,5", "1.5K", "xx", "0", "99999999999", "%", "a b")

Text = tuple[str, str, str]  # system, command, output
Damage = Callable[[random.Random, str], str]


def _cut(rng: random.Random, text: str) -> str:
    return text[: rng.randrange(len(text) + 1)]


def _gap(rng: random.Random, text: str) -> str:
    at = rng.randrange(len(text) + 1)
    return text[:at] + text[at + rng.randrange(1, 120) :]


def _insert(pieces: tuple[str, ...]) -> Damage:
    def damage(rng: random.Random, text: str) -> str:
        at = rng.randrange(len(text) + 1)
        return text[:at] + rng.choice(pieces) + text[at:]

    return damage


def _lines(rng: random.Random, text: str) -> str:
    lines = text.split("\n")
    action, at = rng.randrange(4), rng.randrange(len(lines))
    if action == 0:
        del lines[at]
    elif action == 1:
        lines.insert(rng.randrange(len(lines) + 1), lines[at])
    elif action == 2:
        lines.insert(at, rng.choice(_BANNER))
    else:
        rng.shuffle(lines)
    return "\n".join(lines)


def _cell(rng: random.Random, text: str) -> str:
    found = list(re.finditer(r"\S+", text))
    if not found:
        return text
    one = rng.choice(found)
    return text[: one.start()] + rng.choice(_CELLS) + text[one.end() :]


def _swap(rng: random.Random, text: str) -> str:
    found = list(re.finditer(r"\S+", text))
    if len(found) < 2:
        return text
    first, second = sorted(rng.sample(found, 2), key=lambda one: one.start())
    return "".join(
        (
            text[: first.start()],
            second.group(),
            text[first.end() : second.start()],
            first.group(),
            text[second.end() :],
        )
    )


def _grown(rng: random.Random, text: str) -> str:
    blanks = [one.start() for one in re.finditer(r"(?<=\d) ", text)]
    if not blanks:
        return text
    at = rng.choice(blanks)
    return text[:at] + str(rng.randrange(10)) + text[at + 1 :]


DAMAGES: tuple[Damage, ...] = (_cut, _gap, _insert(_NOISE), _insert(_BANNER), _lines, _cell, _swap, _grown)


def _own() -> Iterator[Text]:
    for case in cases():
        yield case.os, case.command, case.text


def _indexed(folder: Path) -> Iterator[Text]:
    with (folder / "INDEX.tsv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            if row["os"] in SYSTEMS:
                command = re.sub(r"\s*\(.*", "", row["command"]).strip()
                yield row["os"], command, (folder / row["path"]).read_text(encoding="utf-8", errors="replace")


class _Hang(Exception):
    pass


def _alarm(signum: int, frame: FrameType | None) -> None:
    raise _Hang


def _problem(system: str, command: str, text: str) -> str:
    """What is wrong with the answer to this text; empty when nothing is."""
    try:
        signal.setitimer(signal.ITIMER_VIRTUAL, LONGEST_S)
        parsed = parse(system, command, text)
    except _Hang:
        return "hang"
    except Exception as error:  # noqa: BLE001  to find these is what this is for
        return f"crash: {type(error).__name__}: {error}"
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    if (parsed.outcome is Outcome.ROWS) != bool(parsed.rows):
        return f"rows from {parsed.outcome.value}"
    for row in parsed.rows:
        if any(isinstance(value, float) and not math.isfinite(value) for value in row.values()):
            return f"no number: {row}"
    untrue = contradictions(parsed.family, parsed.rows, text, command) if parsed.family else []
    return f"untrue: {untrue[0]}" if untrue else ""


def _work(arguments: tuple[list[Text], int, int, float]) -> tuple[Counter[str], list[dict[str, Any]]]:
    texts, inputs, seed, seconds = arguments
    signal.signal(signal.SIGVTALRM, _alarm)
    rng = random.Random(seed)
    ends_at = time.monotonic() + seconds
    counts: Counter[str] = Counter()
    failures: list[dict[str, Any]] = []
    while counts["inputs"] < inputs and time.monotonic() < ends_at:
        system, command, text = rng.choice(texts)
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            text = rng.choice(DAMAGES)(rng, text)
        counts["inputs"] += 1
        problem = _problem(system, command, text)
        if problem:
            counts[problem.partition(":")[0]] += 1
            failures.append({"os": system, "command": command, "problem": problem, "text": text})
    return counts, failures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=1800.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=multiprocessing.cpu_count())
    parser.add_argument("--more", type=Path, help="A folder of captured outputs with an INDEX.tsv.")
    parser.add_argument("--failures", type=Path, help="Where to write the inputs that show a problem, as NDJSON.")
    chosen = parser.parse_args()
    texts = [one for one in (*_own(), *(_indexed(chosen.more) if chosen.more else ())) if one[2]]
    began = time.monotonic()
    shares = [
        (texts, -(-chosen.inputs // chosen.processes), chosen.seed * 1000 + number, chosen.seconds)
        for number in range(chosen.processes)
    ]
    counts: Counter[str] = Counter()
    failures: list[dict[str, Any]] = []
    with multiprocessing.Pool(chosen.processes) as pool:
        for some, shown in pool.imap_unordered(_work, shares):
            counts += some
            failures += shown
    if chosen.failures:
        chosen.failures.write_text("".join(json.dumps(one) + "\n" for one in failures), encoding="utf-8")
    wrong = {name: count for name, count in counts.items() if name != "inputs"}
    answer = {
        "inputs": counts["inputs"],
        "texts": len(texts),
        "seed": chosen.seed,
        "seconds": round(time.monotonic() - began, 1),
        "wrong": wrong,
        "examples": [{key: one[key] for key in ("os", "command", "problem")} for one in failures[:20]],
    }
    print(json.dumps(answer, indent=1))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
