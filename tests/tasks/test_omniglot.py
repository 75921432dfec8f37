"""Episodes of characters, the nets' sizes and answers, and the embedded glyphs."""

import io
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import torch
from PIL import Image
from torch import Generator, Tensor, nn

from plasticrl.runs import UsageError
from plasticrl.tasks.data import DataError, DataRecord, EmbeddedDataSet
from plasticrl.tasks.episodes import make_generator
from plasticrl.tasks.omniglot import glyphs
from plasticrl.tasks.omniglot.characters import IMAGE_SIZE, Characters
from plasticrl.tasks.omniglot.config import GLYPHS, PRESETS, OmniglotConfig
from plasticrl.tasks.omniglot.nets import NearestPixels, OneShot, OneShotEpisodes
from plasticrl.tasks.omniglot.task import Omniglot, rotated
from plasticrl.tasks.training import SupervisedRun

SMALL = OmniglotConfig(n_ways=3, n_queries=4, channels=4)


class Numbered(Characters):
    """Images with their class in a corner pixel, and their position in the row beside it."""

    def __init__(self) -> None:
        numbers = torch.arange(20)
        super().__init__(DataRecord("numbers", "1", None, "halves"), numbers[:10], numbers[10:])

    def draw(self, classes: Tensor, generator: Generator) -> Tensor:
        images = torch.zeros(*classes.shape, IMAGE_SIZE, IMAGE_SIZE)
        images[..., 0, 0] = 1.0 + classes
        images[..., 0, 1] = 1.0 + torch.arange(classes.shape[1])
        return images


@pytest.fixture
def task() -> Omniglot:
    made = Omniglot(SMALL)
    made.characters = Numbered()
    return made


def corner(image: Tensor) -> tuple[int, int]:
    """The class of an image, and by how many multiples of 90 degrees it is rotated."""
    for quarter in range(4):
        back = image.rot90(-quarter)
        if back[0, 0] > 0:
            return int(back[0, 0]) - 1, quarter
    raise AssertionError("no class in a corner")


@pytest.mark.parametrize("held_out", [False, True])
def test_an_episode_shows_each_character_once_and_queries_one(
    task: Omniglot, held_out: bool
) -> None:
    """Otherwise the answer was never shown, is not the label of the image, or can be guessed."""
    images, labels, queries, answers = task.sample(50, make_generator(0, "cpu"), held_out)
    n_queries = 1 if held_out else 4
    assert images.shape == (3, 50, 31, 31)
    assert queries.shape == (n_queries, 50, 31, 31)
    turns = set()
    for b in range(50):
        shown = {corner(images[k, b]): int(labels[k, b]) for k in range(3)}
        classes = {number for number, _ in shown}
        assert len(classes) == 3
        assert all((number >= 10) == held_out for number in classes)
        assert sorted(shown.values()) == [0, 1, 2]
        for query, answer in zip(queries[:, b], answers[:, b], strict=True):
            assert shown[corner(query)] == answer  # rotated as when it was shown
            assert not any(torch.equal(query, image) for image in images[:, b])
        turns |= {quarter for _, quarter in shown}
    assert turns == {0, 1, 2, 3}
    assert {tuple(row) for row in labels.T.tolist()} > {(0, 1, 2), (2, 1, 0)}
    assert set(answers.flatten().tolist()) == {0, 1, 2}


def test_rotation_by_multiples_of_90_degrees() -> None:
    """Otherwise the images are rotated by another angle than the index says."""
    image = torch.tensor([[1, 2], [3, 4]])
    all_turns = rotated(image.expand(4, 2, 2), torch.arange(4)).tolist()
    assert all_turns == [[[1, 2], [3, 4]], [[2, 4], [1, 3]], [[4, 3], [2, 1]], [[3, 1], [4, 2]]]


def test_the_seed_decides_and_held_out_characters_differ() -> None:
    """Otherwise a result cannot be repeated, or is measured on training characters."""
    task = Omniglot(OmniglotConfig())
    first, again, other = (task.sample(3, make_generator(seed, "cpu"), True) for seed in (1, 1, 2))
    assert all(torch.equal(x, y) for x, y in zip(first, again, strict=True))
    assert not torch.equal(first.images, other.images)
    training, held_out = (
        {script.name for script in glyphs.read_scripts() if script.held_out == side}
        for side in (False, True)
    )
    assert not training & held_out
    assert {"Latin", "Greek", "Cyrillic"} < training
    together = torch.cat([task.characters.training, task.characters.held_out])
    assert together.sort().values.tolist() == list(range(1092))
    assert min(len(task.characters.training), len(task.characters.held_out)) > 500


def count(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters() if p.requires_grad)


def test_published_parameter_count_and_its_control() -> None:
    """Otherwise the net is not that of DP 2018: 640 + 3 x 36,928 + 2 x 320 + 1 parameters."""
    config = replace(PRESETS["omniglot-paper"](), data="glyphs")
    plastic, control, pixels = (net.build() for net in Omniglot(config).nets())
    assert count(plastic) == 112_065
    assert count(control) == pytest.approx(112_065, rel=0.003)
    assert count(pixels) == 0


def test_the_paper_preset_has_the_paper_s_numbers() -> None:
    """Otherwise results of different experiments are compared."""
    config = PRESETS["omniglot-paper"]()
    assert (config.n_ways, config.n_queries, config.batch_size, config.rule) == (5, 1, 1, "oja")
    assert (config.learning_rate, config.decay, config.decay_every) == (3e-5, 0.666, 1_000_000)
    assert (config.eta_init, config.alpha_scale, config.channels) == (0.01, 0.01, 64)


@pytest.mark.parametrize("rule", get_args(get_type_hints(OmniglotConfig)["rule"]))
def test_the_readout_worked_by_hand(rule: str) -> None:
    """Otherwise images are associated with the wrong labels, or by the wrong rule."""
    torch.manual_seed(0)
    config = replace(SMALL, rule=rule)  # type: ignore[arg-type]
    net = OneShot(config, 4, plastic=True).double()
    task = Omniglot(config)
    episodes = OneShotEpisodes(
        *(part[:, :1] for part in task.sample(2, make_generator(0, "cpu"), False))
    )
    episodes = episodes._replace(images=episodes.images.double(), queries=episodes.queries.double())
    connection = net.readout.connection
    assert connection is not None
    eta = connection.eta
    assert eta is not None
    eta.data.fill_(0.25)
    trace = torch.zeros(3, 4, dtype=torch.float64)
    for image, label in zip(episodes.images[:, 0], episodes.labels[:, 0], strict=True):
        f = net.embedding(image[None, None])[0]
        # With 1,000 added to its drive the label's output is 1, and the others' are 0.
        if rule == "oja":
            trace[label] += eta[0] * (f - trace[label])
        elif rule == "hebb":
            trace *= 1 - eta[0]
            trace[label] += eta[0] * f
        else:
            pytest.fail(f"there is no hand-worked case of the rule {rule!r}")
    probabilities = net(episodes)
    for q in range(4):
        f = net.embedding(episodes.queries[q, 0][None, None])[0]
        expected = torch.softmax((connection.weight + connection.alpha * trace) @ f, dim=0)
        assert (probabilities[q, 0] - expected).abs().max() < 1e-12


def test_each_query_is_answered_as_if_it_were_the_only_one() -> None:
    """Otherwise a query changes the trace, and training differs from the evaluation."""
    torch.manual_seed(0)
    net = OneShot(SMALL, 4, plastic=True)
    episodes = Omniglot(SMALL).sample(3, make_generator(0, "cpu"), held_out=False)
    together = net(episodes)
    for q in range(4):
        one = episodes._replace(
            queries=episodes.queries[q : q + 1], answers=episodes.answers[q : q + 1]
        )
        assert torch.allclose(net(one)[0], together[q], atol=1e-6)


def test_the_control_does_not_see_the_labels() -> None:
    """Otherwise the control has a memory too."""
    torch.manual_seed(0)
    net = OneShot(SMALL, 5, plastic=False)
    episodes = Omniglot(SMALL).sample(3, make_generator(0, "cpu"), held_out=True)
    relabeled = episodes._replace(labels=episodes.labels.roll(1, 0))
    assert torch.equal(net(episodes), net(relabeled))


def test_nearest_pixels_and_the_measure_by_hand() -> None:
    """Otherwise the control or the metric is wrong."""
    images = torch.zeros(3, 1, 31, 31)
    images[1, 0, 0, 0], images[2, 0, 0, :2] = 1.0, 1.0
    queries = torch.zeros(2, 1, 31, 31)
    queries[0, 0, 0, 0], queries[1, 0, 0, :2] = 0.4, 0.8  # nearest: the first, the third
    labels = torch.tensor([[2], [0], [1]])
    episodes = OneShotEpisodes(images, labels, queries, torch.tensor([[2], [0]]))
    net = NearestPixels()
    assert net(episodes).tolist() == [[[0, 0, 1]], [[0, 1, 0]]]
    task = Omniglot(SMALL)
    assert task.measure(net, episodes).tolist() == [0.5]
    even = nn.Softmax(dim=-1)

    class Even(nn.Module):
        def forward(self, _: OneShotEpisodes) -> Tensor:
            return torch.as_tensor(even(torch.zeros(2, 1, 3)))

    assert task.loss(Even(), episodes).item() == pytest.approx(math.log(3))


def test_the_learning_rate_falls_in_steps() -> None:
    """Otherwise the schedule is not the paper's."""
    task = Omniglot(replace(SMALL, decay=0.5, decay_every=2, learning_rate=1.0))
    rates = [task.learning_rate(nn.Linear(1, 1), n_updates) for n_updates in range(5)]
    assert rates == [1.0, 1.0, 0.5, 0.5, 0.25]


def test_a_drawing_is_its_glyph_and_no_two_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the net sees the wrong characters, or the same drawing every time."""
    random = make_generator(0, "cpu")
    characters = glyphs.Glyphs("cpu")
    drawn = characters.draw(torch.tensor([[0, 0, 0], [700, 700, 5]]), random)
    assert drawn.shape == (2, 3, 31, 31)
    assert ((drawn >= 0) & (drawn <= 1)).all()
    assert (drawn[0, 0] - drawn[0, 1]).abs().max() > 0.5
    for name, value in (("ROTATION", 0.0), ("SHEAR", 0.0), ("SHIFT", 0.0), ("ELASTIC", 0.0)):
        monkeypatch.setattr(glyphs, name, value)
    monkeypatch.setattr(glyphs, "SCALE", (1.0, 1.0))
    grid = glyphs.sampling_grid(1, random)[0]
    centers = (2 * torch.arange(31.0) + 1) / 31 - 1
    assert torch.allclose(grid[..., 0], centers.expand(31, 31), atol=1e-6)
    assert torch.allclose(grid[..., 1], centers.expand(31, 31).T, atol=1e-6)
    still = characters.draw(torch.tensor([[0]]), random)[0, 0]
    letter = still > 0.5  # an A: nothing above its top, two feet, one tip
    top, foot = (letter.any(1).nonzero().flatten()[k] for k in (0, -1))
    runs = [int((letter[row, 1:] & ~letter[row, :-1]).sum()) for row in (top, foot)]
    assert runs == [1, 2]


def test_the_image_file_is_cut_into_its_cells() -> None:
    """Otherwise a class has parts of several letters."""
    with Image.open(GLYPHS.path) as sheet:
        expected = sheet.crop((2 * 40, 3 * 40, 3 * 40, 4 * 40))
        assert sheet.size[0] == 33 * 40
    cells = glyphs.read_glyphs(1092)
    assert cells.shape == (1092, 40, 40)
    assert (255 * cells[3 * 33 + 2]).byte().numpy().tobytes() == expected.tobytes()
    assert (cells.amax(dim=(1, 2)) > 0.5).all()  # each has ink


def test_an_altered_image_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise results change and nobody notices."""
    altered = tmp_path / "glyphs.png"
    altered.write_bytes(GLYPHS.read()[:-1])
    sheet = EmbeddedDataSet("glyphs", "omniglot", altered, GLYPHS.sha256, "")
    monkeypatch.setattr(glyphs, "GLYPHS", sheet)
    with pytest.raises(DataError, match=r"glyphs\.png has been altered"):
        Omniglot(SMALL)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"n_ways": 1}, "n_ways must be at least 2, not 1"),
        ({"n_ways": 15, "n_queries": 6}, "at most 20, the drawings of a character, not 21"),
        ({"channels": 0}, "channels must be at least 1, not 0"),
        ({"decay": 0.0}, "decay must be a finite number above 0, not 0"),
        ({"rule": "hebb", "eta_init": 1.0}, "eta_init must be below 1 with rule='hebb', not 1.0"),
        ({"data_root": "here"}, "data_root has no meaning with data='glyphs'"),
    ],
)
def test_impossible_options_are_refused(fields: dict[str, Any], message: str) -> None:
    """Otherwise the user reads an error about tensor shapes."""
    with pytest.raises(UsageError, match=message):
        OmniglotConfig(**fields)


def test_the_pictures_are_there_and_can_be_read(tmp_path: Path) -> None:
    """Otherwise a run ends with an error after its training."""
    task = Omniglot(SMALL)
    files = task.pictures(OneShot(SMALL, 4, plastic=True), tmp_path)
    assert [path.name for path in files] == ["episodes.png", "characters.png"]
    for path in files:
        with Image.open(io.BytesIO(path.read_bytes())) as image:
            assert min(image.size) > 400


@pytest.mark.slow
def test_the_plastic_net_learns_to_learn_and_the_control_cannot(tmp_path: Path) -> None:
    """Otherwise the comparison shows nothing. The control cannot exceed chance, a third."""
    config = replace(
        PRESETS["omniglot-quickstart"](),
        **{"n_ways": 3, "channels": 16, "n_updates": 150, "learning_rate": 5e-3, "batch_size": 8},
    )
    list(SupervisedRun.start(config, "x", tmp_path / "run").learn())
    record = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    control, pixels = record["controls"]
    assert record["ci95"][0] > 0.55
    assert 0.28 < control["value"] < 0.39
    assert pixels["ci95"][1] < 0.7
