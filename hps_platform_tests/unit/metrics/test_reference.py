"""`docs/metrics.md` says what the families say."""

from pathlib import Path

from hps_platform.metrics.reference import reference


def test_the_reference_is_fresh() -> None:
    page = Path(__file__).parents[3] / "docs" / "metrics.md"
    assert page.read_text() == reference(), "run: python -m hps_platform.metrics.reference > docs/metrics.md"
