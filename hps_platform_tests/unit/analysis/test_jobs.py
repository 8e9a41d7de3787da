"""Which programs are missed at a time of day."""

import pytest

from hps_platform.analysis import jobs, words
from hps_platform.analysis.explain import Contribution

BACKUP = "/bin/ksh /opt/bin/backup.sh --to /backup/{}"
DAEMON = "/usr/sbin/syslogd"


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("/bin/ksh /opt/bin/backup.sh --to 2026-03-02", "backup.sh"),
        ("/usr/bin/perl -w /opt/batch/jobs/settle.pl --part 3", "settle.pl"),
        ("/opt/java/bin/java -Xmx2g -Dnode=a -jar /opt/app/server.jar", "server.jar"),
        ("/usr/bin/python3.11 report.py", "report.py"),
        ("env LC_ALL=C nice -n 10 rsync -a /data remote:", "rsync"),
        ("[kworker/0:1]", "0:1"),
        ("-ksh", "-ksh"),
        ("", ""),
    ],
)
def test_what_people_call_a_program(command: str, name: str) -> None:
    assert jobs.program(command) == name


def test_a_job_of_most_days_is_missed_and_one_that_never_works_much_is_not() -> None:
    seen = {back: {BACKUP.format(back): 12.0, DAEMON: 0.1, "cron": 0.2} for back in range(1, 8)}
    assert jobs.absent({0: {DAEMON: 0.1}, **seen}) == ["backup.sh"]
    assert jobs.absent({0: {BACKUP.format(0): 0.5}, **seen}) == []
    assert jobs.absent(seen) == []  # no samples today: nothing is known
    some = {back: seen[back] if back in (1, 2, 4, 5) else {DAEMON: 0.1} for back in seen}
    assert jobs.absent({0: {DAEMON: 0.1}, **some}) == []


def test_a_weekly_job_is_missed_on_its_day_and_a_working_days_one_not_on_saturday() -> None:
    week = {back: {"weekly.sh": 5.0} if back % 7 == 0 else {DAEMON: 0.1} for back in range(1, 15)}
    assert jobs.absent({0: {}, **week}) == ["weekly.sh"]
    working = {back: {"export.sh": 5.0} if back % 7 not in (0, 6) else {DAEMON: 0.1} for back in range(1, 15)}
    assert jobs.absent({0: {}, **working}) == []


def test_two_days_of_history_know_no_habit() -> None:
    assert jobs.absent({0: {}, 1: {"backup.sh": 9.0}, 2: {"backup.sh": 9.0}}) == []


def test_it_is_told_in_the_sentence() -> None:
    cause = [Contribution("disk_kb_s", 0.9, 500.0, 80_000.0, 120_000.0)]
    told = "Disk throughput 500 KiB/s, usually 78.1 to 117.2 MiB/s at this hour"
    assert words.sentence(cause, None, ["backup.sh"]) == (
        f"{told}; backup.sh does not run, as it usually does at this hour."
    )
    assert words.sentence(cause, None, ["a", "b", "c"]).endswith(
        "; a and b do not run, as they usually do at this hour."
    )
    assert words.sentence([], None, ["a"]) == (
        "No single metric stands out; their combination does; a does not run, as it usually does at this hour."
    )
