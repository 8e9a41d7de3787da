"""Drawings that are logged with a model."""

from xml.etree import ElementTree

from hps_platform.model_registry import charts


def test_drawings_are_well_formed_and_stay_inside() -> None:
    drawn = [
        charts.columns("Scores <of> minutes", [0.0, 1.0, 2.0], [3.0, 0.0], "score"),
        charts.columns("Nothing", [0.0, 0.0], [0.0], "score"),
        charts.line("Calibration", [(0.0, 0.1), (1.0, 0.8)], ("expected", "found")),
        charts.line("Nothing", [], ("expected", "found")),
        charts.bars("Metrics", {"cpu_busy_pct": 0.7, "a & b": 0.0}),
    ]
    for content in drawn:
        root = ElementTree.fromstring(content)  # noqa: S314  # our own
        assert root.tag.endswith("svg")
        _, _, width, height = (float(number) for number in root.attrib["viewBox"].split())
        for box in root.iter("{http://www.w3.org/2000/svg}rect"):
            assert float(box.attrib.get("x", 0)) + float(box.attrib["width"]) <= width
            assert float(box.attrib.get("y", 0)) + float(box.attrib["height"]) <= height
