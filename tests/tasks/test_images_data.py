"""The photographs, dead leaves, and how a picture gets into an episode."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from plasticrl.tasks.episodes import make_generator
from plasticrl.tasks.images import photographs
from plasticrl.tasks.images.config import PHOTOGRAPHS
from plasticrl.tasks.images.dead_leaves import dead_leaves
from plasticrl.tasks.images.sources import distinct, normalized


def test_photographs_are_split_by_photograph() -> None:
    """Otherwise the training has patches of a held-out photograph."""
    training, held_out = photographs.read()
    assert (len(training), len(held_out)) == (2026, 707)
    seen = {patch.tobytes() for patch in training}
    assert not any(patch.tobytes() in seen for patch in held_out)
    with Image.open(PHOTOGRAPHS.path) as image:
        sheet = np.asarray(image)
    assert np.array_equal(training[0], sheet[:32, :32])
    # 163 patches of the astronaut, 50 in a row: the first of the camera is in row 3, column 13
    assert np.array_equal(held_out[0], sheet[96:128, 13 * 32 : 14 * 32])


def test_every_photograph_is_attributed() -> None:
    """Otherwise a license is broken, or the package is larger than it may be."""
    assert PHOTOGRAPHS.path.stat().st_size < 2_000_000
    attribution = (PHOTOGRAPHS.path.parent / "ATTRIBUTION.md").read_text()
    for photograph in photographs.ALL_PHOTOS:
        assert f"| {photograph.name} |" in attribution
    assert (
        f"{sum(photo.n_patches for photo in photographs.ALL_PHOTOS):,} gray patches" in attribution
    )


def slope(pictures: torch.Tensor) -> float:
    """The slope d log power / d log frequency of pictures (n, 32, 32), averaged over directions."""
    window = torch.hann_window(32).outer(torch.hann_window(32))
    centered = pictures - pictures.mean(dim=(1, 2), keepdim=True)
    power = torch.fft.fft2(centered * window).abs().square().mean(dim=0)
    frequency = (torch.fft.fftfreq(32) * 32).square()
    radius = (frequency[:, None] + frequency).sqrt().round()
    rings = torch.arange(2, 16)
    mean = torch.stack([power[radius == ring].mean() for ring in rings])
    return float(np.polyfit(np.log(rings.numpy()), np.log(mean.numpy()), 1)[0])


def test_dead_leaves_have_a_photograph_s_spectrum() -> None:
    """Otherwise they are noise or flat, and are no substitute for photographs."""
    pictures = dead_leaves(100, 32, make_generator(0, "cpu"))
    assert pictures.shape == (100, 32, 32)
    assert 0 <= pictures.min() < 0.1 < 0.9 < pictures.max() <= 1
    assert torch.equal(pictures, dead_leaves(100, 32, make_generator(0, "cpu")))
    assert not torch.equal(pictures, dead_leaves(100, 32, make_generator(1, "cpu")))
    of_photographs = slope(torch.from_numpy(photographs.read()[0]).float())
    assert slope(pictures) == pytest.approx(of_photographs, abs=0.3)


def test_normalized_by_hand() -> None:
    """Otherwise the pictures are not normalized as in DP 2018."""
    picture = torch.tensor([[0.0, 0, 1, 3], [0, 0, 3, 1], [8, 8, 2, 2], [8, 8, 2, 2]])
    flat = torch.full((4, 4), 7.0)
    expected = torch.tensor([[-3.0, -1, 5, -1], [0, 0, 0, 0]]) / 5
    assert torch.allclose(normalized(torch.stack([picture, flat]), 2), expected)


def test_distinct_pictures() -> None:
    """Otherwise an episode has a picture twice, or some pictures are more frequent."""
    rows = distinct(6000, 3, 3, make_generator(0, "cpu"))
    assert torch.equal(rows.sort(dim=1).values, torch.arange(3).expand(6000, 3))
    _, counts = rows.unique(dim=0, return_counts=True)
    assert len(counts) == math.factorial(3)
    assert (counts - 1000).abs().max() < 5 * math.sqrt(1000 * 5 / 6)
    few = distinct(6000, 2, 100, make_generator(0, "cpu"))
    assert (few[:, 0] != few[:, 1]).all()
    assert few.max() == 99
