"""The agent's data for the live page, and the page's arithmetic in a browser against Python's."""

import base64
import copy
import gzip
import math
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.viewer.browser import Browser, one_browser

from plasticrl.agents.acting import Actor
from plasticrl.agents.training.building import build_model
from plasticrl.agents.training.config import A2CConfig
from plasticrl.agents.training.environments import build_env, build_single_env
from plasticrl.agents.training.presets import PRESETS
from plasticrl.agents.watching import SEED, gallery
from plasticrl.agents.watching.agent import TrainedAgent
from plasticrl.agents.watching.living import LARGEST_MAZE, MOST_UNITS, live_agent
from plasticrl.commands import run_command
from plasticrl.core.cells.configs import GRUConfig, PlasticRNNConfig
from plasticrl.envs import GridMazeBatch
from plasticrl.envs.grid_maze import MazeWorld
from plasticrl.runs import UsageError
from plasticrl.viewer import save_live
from plasticrl.viewer.live import live_page

evaluate_main = partial(run_command, "evaluate")

N_STEPS = 200
START, GOAL = 3, 1


def untrained(env_id: str = "plasticrl/GridMaze-v0", core: Any = None, **options: Any) -> Any:
    """An agent with random weights, of the run of the gallery's agent ``maze``."""
    known = TrainedAgent.load(gallery.folder("maze"))
    config = replace(known.config, env_id=env_id, env_kwargs=options)
    if core is not None:
        config = replace(config, core=core)
    policy = build_model(config, build_env(config, 1)).policy
    return replace(known, config=config, policy=policy)


def strongly_plastic(**options: Any) -> PlasticRNNConfig:
    """Options of a small core whose trace changes its activity a lot from the first steps on."""
    scales = {"weight_init": "normal", "weight_scale": 0.3, "alpha_init": "normal"}
    return PlasticRNNConfig(**{"hidden_size": 12, "alpha_scale": 0.3, **scales, **options})


def test_a_page_has_no_limit_of_steps() -> None:
    """Otherwise episodes on the page are longer than in the training."""
    with pytest.raises(UsageError, match=r"no max_episode_steps: train with episode_length"):
        live_agent(untrained(max_episode_steps=9), 0)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"trials": 2}, "trials"),
        ({"wrapper": ("gymnasium.wrappers:FlattenObservation",)}, "wrapper"),
        ({"a2c": A2CConfig(net_arch=(4,)), "trials": 2}, "trials, net_arch"),
    ],
)
def test_what_a_page_does_not_compute(options: dict[str, Any], named: str) -> None:
    """Otherwise the agent on the page gets other observations or acts in another way."""
    agent = untrained()
    agent = replace(agent, config=replace(agent.config, **options))
    with pytest.raises(UsageError, match=f"trained with {named}$"):
        live_agent(agent, 0)


CORES = {
    "hebb-hard": strongly_plastic(eta_init=0.2, clip=0.5),
    "delta-hard": strongly_plastic(rule="delta", eta_init=0.3),
    "delta-retroactive": strongly_plastic(rule="delta", modulation="retroactive", eta_init=0.3),
    "oja-none-neuron": strongly_plastic(rule="oja", bound="none", alpha="neuron"),
    "soft-scalar": strongly_plastic(bound="soft", alpha="scalar", eta_init=0.3),
    "decay": strongly_plastic(bound="decay", eta_init=0.3),
    "simple": strongly_plastic(modulation="simple", clip=0.7),
    "simple-fan-out-soft": strongly_plastic(modulation="simple", fan_out=True, bound="soft"),
    "simple-sigmoid-oja-none": strongly_plastic(
        modulation="simple", modulator_activation="sigmoid", rule="oja", bound="none"
    ),
    "retroactive-fan-out": strongly_plastic(modulation="retroactive", fan_out=True, eta_init=0.3),
    "retroactive-linear-oja-soft": strongly_plastic(
        modulation="retroactive", modulator_activation="linear", rule="oja", bound="soft"
    ),
    "retroactive-none": strongly_plastic(modulation="retroactive", bound="none"),
    "additive": strongly_plastic(hidden_size=17, input_mode="additive", modulation="simple"),
}
MAZES: dict[str, dict[str, Any]] = {
    "hebb-hard": {"size": 7, "wall_penalty": 0.5, "step_penalty": 0.125},
    "simple": {"size": 5, "goal_reward": 3.0, "episode_length": 333},
}


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with one_browser(tmp_path_factory.mktemp("profile")) as one:
        yield one


def build_maze(agent: TrainedAgent) -> GridMazeBatch:
    with build_single_env(agent.config, None) as env:
        batch: GridMazeBatch = env.unwrapped.batch  # type: ignore[attr-defined]
        return batch


@torch.no_grad()
def python_steps(agent: TrainedAgent, uniforms: np.ndarray) -> list[dict[str, Any]]:
    """Run an agent with given random numbers (T, 2), for the action and for the next place.

    This is computed in double precision, as in a browser.
    """
    batch = build_maze(agent)
    rows, world = batch.state
    world = MazeWorld(np.array([START]), np.array([GOAL]))
    policy = copy.deepcopy(agent.policy).double()
    state, steps = policy.initial_state(1), []
    for uniform, place in uniforms:
        seen = torch.as_tensor(batch.observe(rows, world)).double()
        hidden, state = policy.core(seen, state)
        logits = policy.action_net(hidden)[0]
        probabilities = logits.softmax(0)
        action = np.searchsorted(probabilities.cumsum(0).numpy()[:-1], [uniform], side="right")
        draws = np.array([[place], [1.0], [0.0]])  # the goal does not move
        world, reward = batch.advance(world, action, draws)
        rows = rows._replace(steps=rows.steps + 1, previous_action=action, previous_reward=reward)
        modulation = policy.core.modulation(state)
        if modulation is not None:
            modulation = modulation.expand(1, policy.core.hidden_size)[0].tolist()
        steps.append(
            {
                "action": action.item(),
                "agent": world.agent.item(),
                "reward": reward.item(),
                "hidden": hidden[0].tolist(),
                "trace": state.trace.flatten().tolist(),
                "modulation": modulation,
                "logits": logits.tolist(),
                "probabilities": probabilities.tolist(),
                "value": policy.value_net(hidden).item(),
            }
        )
    return steps


PAGE_LIFE = """((net, start, goal, uniforms) => {
  const life = newLife(app.nets[net], app.maze, start, goal);
  return uniforms.map((pair) => {
    const { action, reward, logits, probabilities, value } = liveStep(life, ...pair);
    const { hidden, trace, modulation } = life.state;
    return {
      action, reward, value, agent: life.world.agent, hidden: [...hidden], trace: [...trace],
      modulation: modulation && [...modulation], logits: [...logits],
      probabilities: [...probabilities],
    };
  });
})"""


def assert_the_same_steps(
    browser: Browser, page: Path, agent: TrainedAgent
) -> list[dict[str, Any]]:
    """Compare 200 steps of both networks of a page with Python's; return the plastic one's."""
    save_live(live_agent(agent, seed=3), page)
    browser.open(page.as_uri() + "#paused")
    uniforms = np.random.default_rng(1).random((N_STEPS, 2))
    lives = [python_steps(one, uniforms) for one in (agent, agent.ablate())]
    for which, life in enumerate(lives):
        script = f"{PAGE_LIFE}({which}, {START}, {GOAL}, {uniforms.tolist()})"
        for t, (step, on_page) in enumerate(zip(life, browser.value(script), strict=True)):
            for name, expected in step.items():
                if expected is None:
                    assert on_page[name] is None
                    continue
                error = np.abs(np.subtract(on_page[name], expected)).max()
                assert error <= 1e-9, f"{name}, net {which}, step {t}: {error:.2g}"
    assert lives[0] != lives[1]
    return lives[0]


def assert_it_acts_so(agent: TrainedAgent, life: list[dict[str, Any]]) -> None:
    """Compare the actions with those of ``Actor``, which computes in single precision."""
    batch = build_maze(agent)
    rows, world = batch.state
    world = MazeWorld(np.array([START]), np.array([GOAL]))
    actor = Actor(agent.policy, agent.policy.initial_state(1))
    uniforms = np.random.default_rng(1).random((N_STEPS, 2))
    actor.uniforms = [np.array([uniform]) for uniform, _ in uniforms[::-1]]
    for step, (_, place) in zip(life, uniforms, strict=True):
        action, _ = actor(torch.as_tensor(batch.observe(rows, world)))
        world, reward = batch.advance(world, action, np.array([[place], [1.0], [0.0]]))
        rows = rows._replace(steps=rows.steps + 1, previous_action=action, previous_reward=reward)
        assert action.item() == step["action"]


@pytest.mark.parametrize("name", CORES)
def test_the_page_has_pythons_equations(browser: Browser, tmp_path: Path, name: str) -> None:
    torch.manual_seed(2)
    agent = untrained(core=CORES[name], **MAZES.get(name, {"size": 5}))
    life = assert_the_same_steps(browser, tmp_path / "a.html", agent)
    assert np.abs(life[-1]["trace"]).max() > 0.1  # else nothing was compared
    assert sum(step["reward"] > 0 for step in life) > 1


@pytest.mark.parametrize("name", ["maze", "maze-moving"])
def test_the_page_acts_as_the_gallerys_agent(browser: Browser, tmp_path: Path, name: str) -> None:
    agent = TrainedAgent.load(gallery.folder(name))
    life = assert_the_same_steps(browser, tmp_path / "a.html", agent)
    assert sum(step["reward"] > 0 for step in life) > 10
    assert_it_acts_so(agent, life)


MOVED = """((lives) => {
  const means = Array.from({ length: 15 }, () => [0, 0]);
  for (let life = 0; life < lives; life++) {
    app.newEpisode();
    for (let t = 0; t < 300; t++) {
      if (t === 200) app.moveReward(app.randomGoal());
      app.step();
      means[Math.floor(t / 20)].forEach((mean, which, both) => {
        both[which] = mean + app.lives[which].last.reward / lives;
      });
    }
  }
  return means;
})"""
"""Mean reward in each 20 steps, of both networks. The reward moves after 200 steps."""


def test_an_agent_learns_a_moved_reward(browser: Browser, tmp_path: Path) -> None:
    """Otherwise a visitor moves the reward, and the agent keeps going to its old place."""
    save_live(
        live_agent(TrainedAgent.load(gallery.folder("maze-moving")), SEED), tmp_path / "a.html"
    )
    browser.open((tmp_path / "a.html").as_uri() + "#paused")
    plastic, ablated = np.transpose(browser.value(f"{MOVED}(100)"))
    assert plastic[9] > 2 * plastic[0]
    assert plastic[10] < plastic[9] / 2
    assert plastic[14] > 2 * plastic[10]
    assert ablated.max() < plastic[9] / 2


def test_the_page_has_the_agents_data() -> None:
    """Otherwise the page has another net's weights or another maze's options."""
    agent = TrainedAgent.load(gallery.folder("maze"))
    live = live_agent(agent, seed=5, deterministic=True)
    assert (live.seed, live.deterministic) == (5, True)
    assert live.about == (
        "The agent is a plastic_rnn of 64 units, trained for 4,800,000 steps (maze-quickstart)"
    )
    names = ("rule", "bound", "clip", "limit", "modulation", "modulator_activation", "eta")
    values = ["hebb", "hard", 2.0, 2.0, "simple", "tanh", None]
    assert [live.net[name] for name in names] == values
    layers = {
        "input": ("core.input", (64, 17)),
        "modulator": ("core.connection.modulator", (1, 64)),
        "fan_out": ("core.connection.modulator.fan_out", (64, 1)),
        "action_head": ("action_net", (4, 64)),
        "value_head": ("value_net", (1, 64)),
    }
    saved = agent.policy.state_dict()
    for name, (place, shape) in layers.items():
        assert live.net[name]["weight"].shape == shape
        for part in ("weight", "bias"):
            np.testing.assert_array_equal(live.net[name][part], saved[f"{place}.{part}"])
    for part in ("weight", "alpha"):
        np.testing.assert_array_equal(live.net[part], saved[f"core.connection.{part}"])
    goals = live.maze.pop("goals")
    assert goals == [cell for cell in range(41) if cell != 20]
    assert live.maze == {
        "size": 9,
        "episode_length": 200,
        "goal_reward": 10.0,
        "wall_penalty": 0.0,
        "step_penalty": 0.0,
        "goal_moves": 0.0,
        "random_start": False,
    }


def test_a_bound_without_a_limit_and_a_single_alpha() -> None:
    """Infinity is not JSON; the page reads an alpha for each connection."""
    core = PlasticRNNConfig(hidden_size=3, bound="none", alpha="scalar", eta_init=0.25)
    live = live_agent(untrained(core=core, size=5), seed=0)
    assert (live.net["limit"], live.net["eta"]) == (None, 0.25)
    assert live.net["alpha"].shape == (3, 3)
    assert len(np.unique(live.net["alpha"])) == 1
    assert live.net["modulator"] is live.net["fan_out"] is None


def test_the_committed_page_is_what_the_command_writes() -> None:
    """Otherwise docs/live.html shows an older page; a compressed array may differ in its bytes."""
    live = live_page(live_agent(TrainedAgent.load(gallery.folder("maze-moving")), SEED))
    committed = (Path(__file__).parents[3] / "docs" / "live.html").read_text()
    arrays = [re.findall('id="arrays">([^<]*)', html) for html in (live, committed)]
    (live_bytes,), (committed_bytes,) = (
        [gzip.decompress(base64.b64decode(text)) for text in texts] for texts in arrays
    )
    assert live_bytes == committed_bytes
    assert live.replace(arrays[0][0], "") == committed.replace(arrays[1][0], "")


SUPPORTED = (
    f"a live page shows a plastic_rnn of at most {MOST_UNITS} units in plasticrl/GridMaze-v0 of "
    f"size at most {LARGEST_MAZE}, not "
)


@pytest.mark.parametrize(
    ("agent", "found"),
    [
        (
            {"core": PRESETS["maze-quickstart"]().core, "env_id": "plasticrl/TMaze-v0"},
            "plastic_rnn of 64 units in plasticrl/TMaze-v0",
        ),
        ({"core": GRUConfig(hidden_size=5)}, "gru of 5 units in plasticrl/GridMaze-v0"),
        (
            {"core": PlasticRNNConfig(hidden_size=MOST_UNITS + 1)},
            f"plastic_rnn of {MOST_UNITS + 1} units in plasticrl/GridMaze-v0",
        ),
        (
            {"size": LARGEST_MAZE + 2},
            f"plastic_rnn of 64 units in plasticrl/GridMaze-v0 of size {LARGEST_MAZE + 2}",
        ),
    ],
)
def test_what_a_page_does_not_support(agent: dict[str, Any], found: str) -> None:
    with pytest.raises(UsageError) as caught:
        live_agent(untrained(**agent), seed=0)
    assert str(caught.value) == SUPPORTED + found


@pytest.mark.parametrize(
    "options",
    [
        {"modulation": "gated"},
        {"modulation": "simple", "modulator": "pair"},
        {"modulation": "retroactive", "eligibility_squash": "tanh"},
        {"rule": "abcd"},
        {"trial_input": 3},
    ],
)
def test_what_the_page_does_not_compute_is_refused(options: dict[str, Any]) -> None:
    """Otherwise the page shows another net than the agent's."""
    name, value = list(options.items())[-1]
    with pytest.raises(UsageError, match=f"cannot show a core with {name}={value!r}"):
        live_agent(untrained(core=strongly_plastic(**options)), seed=0)


@pytest.mark.parametrize("core", [strongly_plastic(num_layers=2), GRUConfig(num_layers=2)])
def test_layers_are_refused(core: Any) -> None:
    """Otherwise a page would show a net that is not the agent's."""
    with pytest.raises(UsageError, match="shows a core of one layer that actor and critic share"):
        live_agent(untrained(core=core), seed=0)


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--live", "a.htm"], "cannot write the live page to a.htm: the name must end in .html"),
        (["--live", "no/a.html"], "no is not a writable folder"),
        (["--live", "a.html", "--report", "./a.html"], "--live and --report would both write"),
        (["--live", "a.html", "--episodes", "9"], "leave out --episodes"),
    ],
)
def test_a_page_that_cannot_be_written(
    flags: list[str],
    sentence: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert evaluate_main(["--gallery", "maze", *flags]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert sentence in err
    assert not list(tmp_path.iterdir())


def test_the_command_refuses_another_environment(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["--gallery", "cue-reward", "--live", str(tmp_path / "a.html")]
    assert evaluate_main(argv) == 2
    found = "plastic_rnn of 64 units in plasticrl/CueReward-v0"
    assert f"error: {SUPPORTED}{found}\n" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_command_writes_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "a.html"
    argv = ["--gallery", "maze", "--seed", "7", "--deterministic", "--live", str(page)]
    assert evaluate_main(argv) == 0
    assert f"wrote {page}\n" in capsys.readouterr().err
    agent = TrainedAgent.load(gallery.folder("maze"))
    assert page.read_text() == live_page(live_agent(agent, 7, deterministic=True))


def test_all_presets_of_the_maze_are_supported() -> None:
    for name in ("maze-quickstart", "maze-paper"):
        config = PRESETS[name]()
        live = live_agent(untrained(core=config.core, **config.env_kwargs), seed=0)
        assert math.prod(live.net["weight"].shape) == config.core.hidden_size**2  # type: ignore[attr-defined]
