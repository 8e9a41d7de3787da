"""How PostgreSQL is run by root, and by anybody else."""

import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hps_platform.errors import StackError
from hps_platform.stack.unprivileged import (
    ACCOUNT,
    Confinement,
    confine,
    fallback_folder,
    remove_fallback,
)

AS_ROOT = os.geteuid() == 0
REFUSED = ("false",)
"""Stands for a kernel that refuses user namespaces."""


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A folder that every account can reach; pytest's own temporary folders are closed."""
    folder = Path(tempfile.mkdtemp(prefix="hps-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def has_account() -> bool:
    try:
        pwd.getpwnam(ACCOUNT)
    except KeyError:
        return False
    return True


def test_an_ordinary_user_needs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    assert confine(tmp_path / "data") == Confinement((), tmp_path / "data")


def test_the_folder_is_made_and_its_parents_stay_as_they_are(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    before = closed.stat()
    how = confine(closed / "data", parent=tmp_path / "unused")
    assert how.folder == closed / "data"
    assert how.note == ""
    assert (closed.stat().st_mode, closed.stat().st_uid) == (before.st_mode, before.st_uid)
    how.write(how.folder / "file", "one")
    how.write(how.folder / "file", " two", append=True)
    assert (how.folder / "file").read_text() == "one two"
    assert how.can_run("sh", "-c", 'test "$(id -u)" != 0')


def test_where_namespaces_are_refused_the_account_runs_it(tmp_path: Path, reachable: Path) -> None:
    data = tmp_path / "data"
    if not AS_ROOT:
        assert confine(data, namespace=REFUSED, parent=reachable).account is None
        return
    if not has_account():
        with pytest.raises(StackError, match="useradd --system postgres"):
            confine(data, namespace=REFUSED, parent=reachable)
        return
    how = confine(data, namespace=REFUSED, parent=reachable)
    assert how.folder == fallback_folder(data, reachable)
    assert how.folder.stat().st_uid == pwd.getpwnam(ACCOUNT).pw_uid
    assert how.folder.stat().st_mode & 0o777 == 0o700
    assert how.note == f"runs as postgres, data in {how.folder}"
    assert how.can_run("sh", "-c", f'test "$(id -un)" = {ACCOUNT}')
    # Data does not move by itself when the kernel allows namespaces later.
    assert confine(data, parent=reachable) == how
    assert remove_fallback(data, reachable) == [how.folder]
    assert not how.folder.exists()


def test_two_data_directories_never_share_a_folder(tmp_path: Path) -> None:
    assert fallback_folder(tmp_path / "a") != fallback_folder(tmp_path / "b")


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    how = confine(tmp_path / "data", parent=tmp_path / "unused")
    with pytest.raises(StackError, match="can't be written"):
        how.write(tmp_path / "missing" / "file", "x")


def test_removing_a_fallback_that_never_was_removes_nothing(tmp_path: Path) -> None:
    assert remove_fallback(tmp_path, tmp_path) == []
