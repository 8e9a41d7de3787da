"""Cells, times, cleaning, and what failed commands say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hps_platform.dialects.text import (
    clean,
    counter,
    failure,
    first_line,
    is_message,
    looks_tabular,
    number,
    seconds,
    spans,
    suffixed,
)


@pytest.mark.parametrize(
    ("cell", "value"),
    [("0", 0), ("12.5", 12.5), ("165,98", 165.98), ("-3", -3), (".5", 0.5), ("-", None), ("NaNQ", None), ("inf", None)],
)
def test_numbers(cell: str, value: float | None) -> None:
    assert number(cell) == value


@pytest.mark.parametrize("cell", ["", "1_000", "0x10", "1e5", "12M", "\u0661", "1.2.3", "abc", "1,2,3"])
def test_text_is_no_number(cell: str) -> None:
    with pytest.raises(ValueError, match=r"^"):
        number(cell)


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("00:42", 42),
        ("1:12:03", 4323),
        ("31-04:10:11", 2693411),
        ("1148-20:54:50", 99262490),
        ("521:40", 31300),
        ("0:01.25", 1.25),
        ("7", 7),
        ("-", None),
    ],
)
def test_times(cell: str, value: float | None) -> None:
    assert seconds(cell) == value


@pytest.mark.parametrize("cell", ["", ":", "1:2:3:4", "x-1:00", "1-", "2-30", "12:xx", "-5", "1:-2"])
def test_what_is_no_time(cell: str) -> None:
    with pytest.raises(ValueError, match=r"^"):
        seconds(cell)


@pytest.mark.parametrize(
    ("cell", "base", "value"),
    [("12", 1024, 12), ("1.5K", 1024, 1536), ("1.5K", 1000, 1500), ("2Gi", 1000, 2 * 1024**3), ("0B", 1024, 0)],
)
def test_suffixes(cell: str, base: int, value: float) -> None:
    assert suffixed(cell, base) == value


def test_counters_fit_a_database_column() -> None:
    assert counter("4087428230") == 4087428230
    assert counter("18446744073709551615") is None
    assert counter("-") is None


@given(st.text())
def test_cleaning_leaves_no_control_characters(text: str) -> None:
    assert not set(clean(text)) & set("\r\x00\x1b\x07\x08\x0b\x0c")
    assert clean(clean(text)) == clean(text)


@given(st.text(alphabet=st.characters(exclude_categories=["Cc", "Cs"])))
def test_cleaning_leaves_plain_text_alone(text: str) -> None:
    assert clean(text) == text


def test_cleaning_removes_whole_sequences() -> None:
    assert clean("\x1b[1;31mred\x1b[0m \x1b]0;title\x07x\x1b(By\r\n") == "red xy\n"


@pytest.mark.parametrize(
    "text",
    [
        "-bash: iostat: command not found",
        "ksh: iostat:  not found.",
        "/bin/ps: command or file not found",
        "ksh: /usr/bin/svmon: 0403-006 Execute permission denied.",
        "df: invalid option -- 'g'\nTry 'df --help' for more information.",
        "df: illegal option -- z",
        "usage: netstat [-an]",
        "Usage: ps [ -aAdefHlPyZ ]",
        "svmon: 0551-002 Only root can run this",
        "error parsing /proc/net/netstat:",
        "cat: /proc/meminfo: No such file or directory",
        "swapinfo: must be super-user",
        "iostat: cannot open /dev/kmem",
        "Fehler: unbekannter Bezeichner\n\nAufruf:\n ps [Optionen]",
        "/usr/sbin/ip: bad command or file name",
        "The program 'sar' is currently not installed. Try your package manager.",
        "ops is not in the sudoers file.",
        "user ops is not allowed to execute '/usr/sbin/swapinfo' as root on db7.",
        "Your password has expired.",
        "3004-610 You are required to change your password.",
        "0516-1175 lsps: Unable to open the lock",
        "svmon: You do not have permission to run this command.",
        "lanadmin: Unable to attach to PPA 9",
        "sysctl: unknown oid 'hw.nosuch'",
        "iostat: No such device: da9",
        'Device "eth7" does not exist.',
        'Object "lnk" is unknown, try "ip help".',
        "Host key verification failed.",
        "Connection to db7 closed by remote host.",
        "Bus error",
    ],
)
def test_failed_commands(text: str) -> None:
    assert failure(text) in text.split("\n")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Welcome to host1",
        "tcp:\n   12 connection requests\n   4 connection resets received\n   7 packets\n   9 bytes",
        "df: /x: Permission denied\nDateisystem 1K Benutzt\n/dev/a 100 50 50 50% /",
        "df: /x: Permission denied\nSys. de fichiers Taille\n/dev/a 1,5G 1,0G 512M 67% /",
        "2026-03-14 10:20:00",
        "postgres: writer process",
    ],
)
def test_what_only_looks_like_a_failure(text: str) -> None:
    assert failure(text) is None


def test_messages_of_commands_are_told_from_rows() -> None:
    assert is_message("df: /x: Stale file handle")
    assert is_message("ksh: There is not enough space in the file system.")
    assert is_message("/bin/df: '/x': No such file or directory")
    assert not is_message("nas1:/export/home 209715200 52428800 157286400 25% /home")
    assert not is_message("/dev/hd4 1 2 3 4% /")


def test_tables_of_whatever_kind() -> None:
    assert looks_tabular("a 1 2 3 4")
    assert looks_tabular("1 a\n2 b\n3 c\n4 d\n")
    assert not looks_tabular("On 17 June at 10 a.m.")


def test_words_with_their_places() -> None:
    assert spans(" ab  c") == [(1, 3, "ab"), (5, 6, "c")]


def test_first_line_is_printable_and_short() -> None:
    assert first_line("\n \n a\x01b \nc") == "a?b"
    assert len(first_line("x" * 500)) == 120


@pytest.mark.parametrize(
    "text",
    [
        "bash: iostat : commande introuvable",
        "-ksh: iostat: Kommando unbekannt.",
        "bash[3]: iostat: orden no encontrada",
        "iostat: no quedan discos",
        "cat: /proc/diskstats: Datei oder Verzeichnis fehlt",
        "Willkommen\n/usr/bin/iostat: hier geht gerade nichts",
    ],
)
def test_what_a_shell_or_the_program_says_in_its_own_name_in_any_language(text: str) -> None:
    assert failure(text, {"iostat"}) == text.rpartition("\n")[2]
    assert failure(text + "\nsda 1 2 3 4\n", {"iostat"}) is None
