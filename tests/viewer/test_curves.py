"""The picture of curves, whose numbers are read back from the file that was written."""

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from plasticrl.viewer import ViewerError
from plasticrl.viewer.averaging import Curve, Points, average_runs
from plasticrl.viewer.curves import COLORS, save_curves

SVG = "{http://www.w3.org/2000/svg}"


def curve(label: str, n_runs: int, slope: float) -> Curve:
    steps = np.arange(0, 1001, 100)
    runs = [Points(f"{label}{k}", steps, slope * (steps + 10.0 * k)) for k in range(n_runs)]
    return average_runs(label, runs)


def draw(path: Path, *curves: Curve) -> Path:
    save_curves(curves, path, "environment steps", "rollout/ep_rew_mean", "line: mean")
    return path


def thick_lines(path: Path) -> list[tuple[str, np.ndarray]]:
    """Colors and points (M, 2) of the curves, in pixels, y down; straight ones are two points."""
    found = []
    for element in ElementTree.parse(path).iter(f"{SVG}path"):
        style = element.get("style", "")
        color = re.search(r"stroke: (#\w+)", style)
        numbers = re.findall(r"[ML] (\S+) (\S+)", element.get("d", ""))
        inside = element.get("clip-path") is not None  # the legend's samples are not clipped
        if color and "stroke-width: 1.8" in style and inside:
            found.append((color[1], np.array(numbers, dtype=float)))
    return found


def test_the_lines_are_the_numbers(tmp_path: Path) -> None:
    """Otherwise a curve would be drawn upside down, shifted, or under another's color."""
    path = draw(tmp_path / "a.svg", curve("up", 3, 1.0), curve("down", 3, -2.0))
    (first, up), (second, down) = thick_lines(path)
    assert (first, second) == COLORS[:2]
    # The axes are shared: up climbs 1,000 where down falls 2,000.
    climbed, fell = up[0, 1] - up[-1, 1], down[-1, 1] - down[0, 1]
    assert climbed > 0
    assert fell == pytest.approx(2 * climbed, rel=1e-3)
    assert up[-1, 0] - up[0, 0] == pytest.approx(down[-1, 0] - down[0, 0])


def test_a_band_only_where_there_are_several_runs(tmp_path: Path) -> None:
    """Otherwise one seed would look as if it had an interval."""
    bands = {
        n: draw(tmp_path / f"{n}.svg", curve("a", n, 1.0)).read_text().count("PolyCollection")
        for n in (1, 2)
    }
    assert bands == {1: 0, 2: 1}


def test_a_png_is_as_large_as_said_and_has_every_color(tmp_path: Path) -> None:
    """Otherwise curves would be invisible, or look alike."""
    path = draw(tmp_path / "a.PNG", curve("a", 2, 1.0), curve("b", 2, 0.2))
    with Image.open(path) as picture:
        assert (picture.format, picture.size) == ("PNG", (1152, 672))
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    for color in COLORS[:2]:
        rgb = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
        assert (pixels == rgb).all(axis=1).sum() > 500


@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_the_same_curves_are_the_same_file(suffix: str, tmp_path: Path) -> None:
    """Otherwise a picture under version control would change without a reason."""
    one, other = (draw(tmp_path / f"{n}.{suffix}", curve("a", 3, 1.0)) for n in "ab")
    assert one.read_bytes() == other.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"a.{suffix}", f"b.{suffix}"]


def test_a_label_is_no_formula(tmp_path: Path) -> None:
    """Otherwise a run called a$b_c$ would be set as mathematics, or end in a traceback."""
    save_curves([curve(r"a$\b_{c", 2, 1.0)], tmp_path / "a.svg", "steps", "x$y", "n")
    assert len(thick_lines(tmp_path / "a.svg")) == 1


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("a.pdf", r"cannot plot to .*a\.pdf: the name must end in \.png or \.svg"),
        ("no/a.png", "no is not a writable folder"),
        ("folder.png", r"cannot plot to .*folder\.png: it is a folder"),
    ],
)
def test_a_path_that_cannot_be(name: str, sentence: str, tmp_path: Path) -> None:
    """Otherwise the work ends with a traceback."""
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(ViewerError, match=sentence):
        draw(tmp_path / name, curve("a", 2, 1.0))
    assert [path.name for path in tmp_path.iterdir()] == ["folder.png"]
