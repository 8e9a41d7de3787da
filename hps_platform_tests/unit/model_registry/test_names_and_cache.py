"""The registry's own part: names, the cache, and what it says when MLflow is away."""

import hashlib
import io
from pathlib import Path

import joblib
import pytest

from hps_platform.errors import InvalidInput, ModelUntrusted, RegistryUnavailable
from hps_platform.model_registry import FILE, ModelRegistry

NOBODY = "http://127.0.0.1:9"


@pytest.fixture
def registry(tmp_path: Path) -> ModelRegistry:
    return ModelRegistry(NOBODY, cache_dir=tmp_path, timeout_s=1)


def test_everything_that_needs_the_server_says_that_it_is_away(registry: ModelRegistry) -> None:
    for ask in (
        registry.ping,
        registry.champions,
        lambda: registry.versions("hps.1"),
        lambda: registry.promote("hps.1", 2),
        lambda: registry.load("hps.1", 2, "0" * 64),
    ):
        with pytest.raises(RegistryUnavailable, match="does not answer"):
            ask()


def test_no_champion_was_ever_seen(registry: ModelRegistry) -> None:
    assert registry.last_champions() == {}


@pytest.mark.parametrize("name", ["hps.1/../../etc", "hps.' OR 1=1", "", "hps..", "other model"])
def test_a_name_that_is_no_model_of_ours_is_refused(registry: ModelRegistry, name: str) -> None:
    with pytest.raises(InvalidInput, match="no model of this platform"):
        registry.load(name, 1, "0" * 64)


def test_a_cached_file_with_another_hash_is_not_opened(registry: ModelRegistry, tmp_path: Path) -> None:
    path = tmp_path / "hps.1" / "1" / FILE
    path.parent.mkdir(parents=True)
    path.write_bytes(b"cos\nsystem\n(S'touch /tmp/owned'\ntR.")
    with pytest.raises(RegistryUnavailable):  # it goes on to fetch the registered one
        registry.load("hps.1", 1, "0" * 64)


def test_a_model_of_another_release_is_refused(registry: ModelRegistry, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    joblib.dump({"format": 0}, buffer)
    gone = b"\x80\x04csklearn.ensemble\nGoneForest\n."  # a class that this scikit-learn doesn't have
    for version, content in enumerate((buffer.getvalue(), gone), 1):
        path = tmp_path / "hps.1" / str(version) / FILE
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
        with pytest.raises(ModelUntrusted, match="train anew"):
            registry.load("hps.1", version, hashlib.sha256(content).hexdigest())
