"""Episodes of pictures, worked by hand; the nets and the predictors; what is drawn."""

from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor, nn

from plasticrl.runs import UsageError
from plasticrl.tasks import drawing
from plasticrl.tasks.episodes import make_generator
from plasticrl.tasks.images.config import ImagesConfig, images_paper
from plasticrl.tasks.images.nets import (
    Completer,
    ImageEpisodes,
    Mean,
    MeanOfTheRest,
    Mirror,
    NonPlastic,
)
from plasticrl.tasks.images.task import Images

SMALL = ImagesConfig(data="dead-leaves", size=4, n_cycles=2, steps_on=2, steps_off=1, probe_steps=2)


def episodes(n: int) -> ImageEpisodes:
    return Images(SMALL).sample(n, make_generator(0, "cpu"), held_out=False)


def test_an_episode_shows_every_picture_in_every_cycle_then_half_of_one() -> None:
    """Otherwise the target was never shown, or the probe shows all of it."""
    inputs, target, erased, pictures = episodes(20)
    assert inputs.shape == (2 * 3 * 3 + 2, 20, 2 * 17)
    values, masks = inputs.chunk(2, dim=2)
    assert (values[..., 16] == 1).all()  # one unit is always clamped, to 1
    assert (masks[..., 16] == 1).all()
    values, masks = values[..., :16], masks[..., :16]
    for b in range(20):
        shown = sorted(picture.tolist() for picture in pictures[b])
        assert target[b].tolist() in shown
        for start in (0, 9):
            of_cycle = values[start : start + 9, b].view(3, 3, 16)
            assert torch.equal(of_cycle[:, 0], of_cycle[:, 1])
            assert sorted(picture.tolist() for picture in of_cycle[:, 0]) == shown
            assert (of_cycle[:, 2] == 0).all()
            assert (masks[start : start + 9, b].view(3, 3, 16)[:, :2] == 1).all()
            assert (masks[start : start + 9, b].view(3, 3, 16)[:, 2] == 0).all()
        upper, lower = erased[b, :8], erased[b, 8:]
        assert (upper.all() and not lower.any()) or (lower.all() and not upper.any())
        assert torch.equal(masks[18:, b], (~erased[b]).float().expand(2, 16))
        assert torch.equal(values[18:, b], target[b].masked_fill(erased[b], 0).expand(2, 16))
    assert 0 < erased[:, 0].float().mean() < 1  # sometimes the upper half, sometimes the lower


def test_the_error_is_of_the_erased_half_the_loss_of_all() -> None:
    """Otherwise the visible half halves the error of every net."""
    given = episodes(2)
    answer = given.target + torch.where(given.erased, 0.5, 0.25)

    class Oracle(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            return answer

    task = Images(SMALL)
    assert task.measure(Oracle(), given).tolist() == pytest.approx([0.25, 0.25])
    assert task.loss(Oracle(), given) == pytest.approx((0.25 + 0.0625) / 2)


def test_a_gray_of_exactly_zero_is_clamped_too() -> None:
    """Otherwise a visible pixel of value zero is treated as erased."""
    torch.manual_seed(0)
    for net in (Completer(5, "connection"), NonPlastic(5, 7)):
        for parameter in net.parameters():
            nn.init.constant_(parameter, 0.5)
        values = torch.tensor([[0.3, -0.4, 0.0, 0.7, 1.0]])
        inputs = torch.cat([values, torch.ones_like(values)], dim=1).expand(3, 1, 10)
        assert torch.equal(net(inputs), values[:, :4])


def test_without_plasticity_it_is_the_same_net() -> None:
    """Otherwise the control differs in more than its plasticity."""
    torch.manual_seed(0)
    plastic, control = Completer(17, "connection"), NonPlastic(17, 17)
    connection = plastic.cell.connection
    assert connection is not None
    nn.init.normal_(connection.weight)
    nn.init.zeros_(connection.alpha)
    with torch.no_grad():
        control.weight.copy_(connection.weight)
    inputs = episodes(6).inputs
    assert (plastic(inputs) - control(inputs)).abs().max() < 1e-5


def test_trivial_predictors() -> None:
    """Otherwise the baselines are too weak. The picture is 2 x 2, with the lower half erased."""
    values = torch.tensor([[0.5, 0.25, 0.0, 0.0, 1.0]])
    masks = torch.tensor([[1.0, 1.0, 0.0, 0.0, 1.0]])
    inputs = torch.cat([values, masks], dim=1).unsqueeze(0)
    assert Mean()(inputs).tolist() == [[0.5, 0.25, 0.0, 0.0]]
    assert MeanOfTheRest()(inputs).tolist() == [[0.5, 0.25, -0.375, -0.375]]
    assert Mirror()(inputs).tolist() == [[0.5, 0.25, 0.5, 0.25]]


def test_published_sizes() -> None:
    """Otherwise the net or the episodes differ from those of DP 2018."""

    def count(net: nn.Module) -> int:
        return sum(p.numel() for p in net.parameters() if p.requires_grad)

    task = Images(images_paper())
    by_name = {net.name: net.build for net in task.nets()}
    n_plastic = count(by_name["plastic"]())
    assert n_plastic == 2_101_251
    assert count(by_name["one shared alpha"]()) == 1025**2 + 2
    assert count(by_name["non-plastic, equal parameters"]()) == pytest.approx(n_plastic, rel=1e-3)
    inputs = task.sample(1, make_generator(0, "cpu"), held_out=False).inputs
    assert inputs.shape == (201, 1, 2 * 1025)


def test_pictures(tmp_path: Path, figures: dict[str, Figure]) -> None:
    """Otherwise a run draws another net's matrices, or does not mark the erased half."""
    net = Completer(17, "connection")
    files = Images(SMALL).pictures(net, tmp_path)
    assert [file.name for file in files] == ["episode.png", "matrices.png"]
    with Image.open(files[0]) as image:
        pixels = np.asarray(image.convert("RGB"))
    erased = bytes.fromhex(drawing.ERASED_COLOR[1:])
    share = (pixels == np.frombuffer(erased, np.uint8)).all(axis=2).mean()
    assert 0.02 < share < 1 / 12  # half of one of six columns, and margins
    connection = net.cell.connection
    assert connection is not None
    for axes, matrix in zip(
        figures["matrices"].axes, (connection.weight, connection.alpha), strict=False
    ):
        assert np.asarray(axes.images[0].get_array()) == pytest.approx(matrix.detach().numpy())


def test_impossible_options_are_refused() -> None:
    """Otherwise the user reads an error about tensor shapes."""
    with pytest.raises(UsageError, match="size must be 4, 8, 16 or 32, not 5"):
        ImagesConfig(size=5)
    with pytest.raises(UsageError, match="steps_on must be at least 1, not 0"):
        ImagesConfig(steps_on=0)
    with pytest.raises(UsageError, match="data_root has no meaning with data='photographs'"):
        ImagesConfig(data_root="sets")
    with pytest.raises(UsageError, match="n_pictures must be at most 707 with data=photographs"):
        Images(ImagesConfig(n_pictures=708))
