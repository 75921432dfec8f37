"""A recorded episode is the episode that was played."""

import re
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

import plasticrl.envs  # noqa: F401  (registers its environments)
from plasticrl.agents.training.building import build_model
from plasticrl.agents.training.config import A2CConfig, A2CTrainConfig
from plasticrl.agents.training.environments import build_env
from plasticrl.agents.watching.agent import TrainedAgent
from plasticrl.agents.watching.evaluation import measure
from plasticrl.agents.watching.recording import record_episode, why_no_frames
from plasticrl.core import CELLS
from plasticrl.runs import RunDirectory, UsageError, to_dict
from plasticrl.viewer import EpisodeTrace, save_npz

MAZE = {"size": 5, "episode_length": 40}


def untrained(
    env_id: str, env_kwargs: dict[str, Any], name: str, separate: bool = False, **core: Any
) -> TrainedAgent:
    config = A2CTrainConfig(
        a2c=A2CConfig(share_features_extractor=not separate),
        env_id=env_id,
        env_kwargs=env_kwargs,
        core=CELLS[name].config(**core),
        n_envs=1,
        device="cpu",
    )
    run = RunDirectory(Path("nowhere"), "rl", "mine", to_dict(config), {}, {})
    return TrainedAgent(run, config, build_model(config, build_env(config, 1)).policy, 0)


def record(agent: TrainedAgent, **options: Any) -> EpisodeTrace:
    return record_episode(agent, 3, **{"render_mode": "rgb_array", **options})


def test_a_maze_played_again_by_hand() -> None:
    """Otherwise positions or rewards are recorded at the wrong step."""
    agent = untrained("plasticrl/GridMaze-v0", MAZE, name="plastic_rnn", hidden_size=8)
    episode = record(agent)
    env: Any = gym.make("plasticrl/GridMaze-v0", render_mode="rgb_array", **MAZE)
    env.reset(seed=3)
    assert episode.frames is not None
    assert episode.n_steps == 40
    for step in range(40):
        np.testing.assert_array_equal(episode.frames[step], env.render())
        batch = env.unwrapped.batch
        np.testing.assert_array_equal(places(episode, "agent")[step], batch.agent_position[0])
        np.testing.assert_array_equal(places(episode, "goal")[step], batch.goal_position[0])
        _, reward, _, over, _ = env.step(episode.actions[step])
        assert episode.rewards[step] == reward
    assert over
    assert not episode.terminated
    assert episode.scene is not None
    assert (episode.scene.trail, episode.scene.goal) == ("agent", "goal")
    assert episode.scene.symbols[1].name == "wall"
    for grid in episode.scene.grid:
        np.testing.assert_array_equal(grid == 1, batch.maze.walls)


def places(episode: EpisodeTrace, name: str) -> np.ndarray:
    """The position (T, 2) of the only cell with a symbol, at each step."""
    assert episode.scene is not None
    index = [symbol.name for symbol in episode.scene.symbols].index(name)
    found = np.argwhere(episode.scene.grid == index)
    np.testing.assert_array_equal(found[:, 0], np.arange(episode.n_steps))
    return found[:, 1:]


def test_cues_played_again_by_hand() -> None:
    agent = untrained("plasticrl/CueReward-v0", {"n_cues": 3, "cue_bits": 5}, name="lstm")
    episode = record(agent, render_mode=None)
    assert episode.frames is None
    scene = episode.scene
    assert scene is not None
    assert scene.grid.shape[1] == 3
    names = np.array([symbol.name for symbol in scene.symbols])[scene.grid]
    env: Any = gym.make("plasticrl/CueReward-v0", n_cues=3, cue_bits=5)
    obs, _ = env.reset(seed=3)
    for step in range(episode.n_steps):
        (in_sight,) = (names[step, :, 0] == "in sight").nonzero()
        assert len(in_sight) == int(obs[:5].any())
        for cue in in_sight:
            bits = [1.0 if name == "+1" else -1.0 for name in names[step, cue, 2:7]]
            np.testing.assert_array_equal(obs[:5], bits)
        assert obs[5] == (names[step, 0, -1] == "go light, on")
        assert scene.captions[step].startswith("go:") == bool(obs[5])
        obs, *_ = env.step(episode.actions[step])
    target = env.unwrapped.batch.state.world.target[0]
    np.testing.assert_array_equal(
        names[:, :, 1] == "target", np.arange(3) == [[target]] * len(names)
    )


def test_the_trace_and_the_values_are_the_nets_own() -> None:
    """Otherwise the recorded trace is that of another step or row."""
    core = {"name": "plastic_rnn", "hidden_size": 8, "modulation": "simple", "alpha_scale": 1.0}
    agent = untrained("plasticrl/GridMaze-v0", MAZE, **core)
    episode = record(agent)
    synapses = episode.synapses
    assert synapses is not None
    assert episode.values is not None
    assert episode.modulation is not None
    env = gym.make("plasticrl/GridMaze-v0", **MAZE)  # type: ignore[arg-type]
    obs, _ = env.reset(seed=3)
    state = None
    for step in range(episode.n_steps):
        _, values, _, state = agent.policy.step(torch.as_tensor(obs)[None], state)
        trace = state.trace[0].numpy()
        assert episode.values[step] == pytest.approx(float(values), abs=1e-6)
        np.testing.assert_allclose(synapses.trace.at(step), trace, atol=synapses.trace.scale / 250)
        assert synapses.trace_abs_mean[step] == pytest.approx(np.abs(trace).mean(), abs=1e-6)
        modulation = agent.policy.core.modulation(state)
        assert modulation is not None
        assert episode.modulation[step] == pytest.approx(modulation.mean().item(), abs=1e-6)
        obs, *_ = env.step(episode.actions[step])
    connection = agent.policy.core.connection
    assert connection is not None
    np.testing.assert_array_equal(synapses.weight, connection.weight.detach())
    np.testing.assert_array_equal(synapses.alpha, connection.alpha.detach())


def test_the_last_layer_of_the_actor_is_recorded_and_all_are_ablated() -> None:
    """Otherwise a recording shows the critic's trace, or an ablated agent is still plastic."""
    core = {"name": "plastic_rnn", "hidden_size": 8, "num_layers": 2, "modulation": "simple"}
    agent = untrained("plasticrl/GridMaze-v0", MAZE, separate=True, alpha_scale=1.0, **core)
    episode = record(agent)
    synapses, recorded = episode.synapses, episode.modulation
    assert synapses is not None
    assert recorded is not None
    net: Any = agent.policy.core
    layer = net.parts["actor"].parts["layer_2"]
    np.testing.assert_array_equal(synapses.weight, layer.connection.weight.detach())
    env = gym.make("plasticrl/GridMaze-v0", **MAZE)  # type: ignore[arg-type]
    obs, _ = env.reset(seed=3)
    state = None
    for step in range(episode.n_steps):
        state = agent.policy.step(torch.as_tensor(obs)[None], state).state
        trace = state.actor_layer_2_trace[0].numpy()
        np.testing.assert_allclose(synapses.trace.at(step), trace, atol=synapses.trace.scale / 250)
        modulation = layer.connection.modulator(state.actor_layer_2_hidden).mean().item()
        assert recorded[step] == pytest.approx(modulation, abs=1e-6)
        obs, *_ = env.step(episode.actions[step])
    alphas = [
        value
        for name, value in agent.ablate().policy.named_parameters()
        if name.endswith("connection.alpha")
    ]
    assert len(alphas) == 4
    assert not any(alpha.any() for alpha in alphas)


@pytest.mark.parametrize(
    ("core", "has_trace", "has_modulation", "has_eta", "has_bound"),
    [
        ({"name": "lstm"}, False, False, False, False),
        ({"name": "identity"}, False, False, False, False),
        ({"name": "plastic_rnn"}, True, False, True, True),
        ({"name": "plastic_rnn", "bound": "none"}, True, False, True, False),
        ({"name": "plastic_rnn", "modulation": "simple"}, True, True, False, True),
        ({"name": "plastic_lstm", "modulation": "retroactive"}, True, True, True, True),
        ({"name": "plastic_rnn", "alpha": "scalar", "hidden_size": 130}, True, False, True, True),
    ],
)
def test_every_core_on_somebody_elses_environment(
    core: dict[str, Any],
    has_trace: bool,
    has_modulation: bool,
    has_eta: bool,
    has_bound: bool,
    tmp_path: Path,
) -> None:
    """Otherwise recording fails for a net without a trace or a modulation."""
    episode = record(untrained("CartPole-v1", {}, **core), render_mode=None)
    synapses = episode.synapses
    assert (synapses is not None, episode.modulation is not None) == (has_trace, has_modulation)
    if synapses is not None:
        assert (synapses.eta is not None) is has_eta
        assert (synapses.trace_saturation is not None) is has_bound
        assert synapses.block == (3 if core.get("hidden_size") == 130 else 2)
    assert episode.scene is None
    save_npz(episode, tmp_path / "e.npz")


def test_the_ablated_agent_is_labeled_and_has_the_same_episode() -> None:
    """Otherwise the comparison is of two different mazes."""
    core = {"name": "plastic_rnn", "hidden_size": 8}
    agent = untrained("plasticrl/GridMaze-v0", MAZE, **core)
    whole, ablated = record(agent), record(agent.ablate())
    assert (whole.title, whole.ablated) == ("plasticrl/GridMaze-v0, seed 3", False)
    title = "plasticrl/GridMaze-v0, seed 3, plasticity ablated"
    assert (ablated.title, ablated.ablated) == (title, True)
    np.testing.assert_array_equal(places(whole, "goal")[0], places(ablated, "goal")[0])
    assert ablated.synapses is not None
    assert not ablated.synapses.alpha.any()
    assert not ablated.synapses.change.levels.any()


class Painted(gym.Env[Any, Any]):
    """Two steps; a frame of 10 x 900 pixels that is red at the left end."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 8}  # noqa: RUF012

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self.observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)
        self.action_space = gym.spaces.Discrete(2)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.time = 0
        return np.zeros(2, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.time += 1
        return np.zeros(2, np.float32), 0.0, self.time == 2, False, {}

    def render(self) -> Any:
        frame = np.zeros((10, 900, 3), np.uint8)
        frame[:, :4, 0] = 90
        return frame


@pytest.fixture
def painted() -> Any:
    gym.register("Painted-v0", entry_point=Painted)
    yield
    gym.registry.pop("Painted-v0")


@pytest.mark.usefixtures("painted")
def test_large_frames_are_made_smaller_by_means() -> None:
    """Otherwise an Atari game takes minutes to compress and hundreds of megabytes."""
    episode = record(untrained("Painted-v0", {}, name="lstm"))
    assert episode.frames is not None
    assert episode.frames.shape == (2, 3, 300, 3)
    assert episode.frames[0, 0, :3, 0].tolist() == [90, 30, 0]


@pytest.mark.usefixtures("painted")
def test_why_there_are_no_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    config = untrained("Painted-v0", {}, name="lstm").config
    assert why_no_frames(config, ["rgb_array"]) is None
    assert why_no_frames(config, ["human"]) == "Painted-v0 gives no pictures (rgb_array)"

    def missing(_: Any) -> None:
        raise gym.error.DependencyNotInstalled("no painter")

    monkeypatch.setattr(Painted, "render", missing)
    assert why_no_frames(config, ["rgb_array"]) == "Painted-v0 gives no pictures: no painter"


@pytest.mark.usefixtures("painted")
@pytest.mark.parametrize("method", ["reset", "render", "close"])
def test_an_environment_that_fails_when_it_is_drawn(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise an error of a rendering library, such as a missing display, is a traceback."""
    config = untrained("Painted-v0", {}, name="lstm").config

    def fail(_: Any, *, seed: int | None = None, options: Any = None) -> None:
        raise RuntimeError("no display\n  at :0")

    monkeypatch.setattr(Painted, method, fail)
    reason = why_no_frames(config, ["rgb_array"])
    assert reason == "Painted-v0 gives no pictures: no display at :0"


@pytest.mark.usefixtures("painted")
def test_an_environment_that_cannot_be_made_to_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the episode is not shown at all, though only its picture is missing."""
    config = untrained("Painted-v0", {}, name="lstm").config

    def refuse(_: Any, render_mode: str) -> None:
        raise TypeError(f"no {render_mode} here")

    monkeypatch.setattr(Painted, "__init__", refuse)
    reason = why_no_frames(config, ["rgb_array"])
    assert reason is not None
    assert reason.startswith("Painted-v0: no rgb_array here")


@pytest.mark.usefixtures("painted")
@pytest.mark.filterwarnings("ignore:.*:UserWarning")  # Gymnasium's, of the same picture
@pytest.mark.parametrize(
    ("picture", "named"),
    [
        (None, "None"),
        (np.zeros((10, 9), np.uint8), r"uint8 \(10, 9\)"),
        (np.zeros((10, 9, 1), np.uint8), r"uint8 \(10, 9, 1\)"),
        (np.zeros((10, 9, 4), np.uint8), r"uint8 \(10, 9, 4\)"),
        (np.zeros((10, 9, 3)), r"float64 \(10, 9, 3\)"),
        (np.zeros((0, 9, 3), np.uint8), r"uint8 \(0, 9, 3\)"),
        ([np.zeros((10, 9, 3), np.uint8)], "list"),
    ],
)
def test_what_is_no_picture(picture: Any, named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise there is a traceback or, for None, the pictures are silently missing."""
    agent = untrained("Painted-v0", {}, name="lstm")
    monkeypatch.setattr(Painted, "render", lambda _: picture)
    sentence = rf"a picture must be uint8 \(height, width, 3\) or a text, not {named}"
    reason = why_no_frames(agent.config, ["rgb_array"])
    assert re.fullmatch(f"Painted-v0 gives no pictures: {sentence}", str(reason))
    with pytest.raises(UsageError, match=f"Painted-v0 cannot be shown: {sentence}"):
        record(agent)


@pytest.mark.usefixtures("painted")
def test_a_picture_is_repeated_until_the_next_rendering() -> None:
    """Otherwise some steps have no picture, and pictures and steps do not match."""
    drawn: list[int] = []

    class Counting(Painted):
        def step(self, action: Any) -> Any:
            obs, reward, _, _, info = super().step(action)
            return obs, reward, self.time == 5, False, info

        def render(self) -> Any:
            drawn.append(self.time)
            return np.full((10, 9, 3), self.time, np.uint8)

    gym.registry["Painted-v0"].entry_point = Counting
    episode = record(untrained("Painted-v0", {}, name="lstm"), picture_every=2)
    assert drawn == [0, 2, 4]
    assert episode.frames is not None
    assert episode.frames[:, 0, 0, 0].tolist() == [0, 0, 2, 2, 4]


@pytest.mark.usefixtures("painted")
def test_an_environment_is_closed_when_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise its window or its simulator's process stays open after the error."""
    agent = untrained("Painted-v0", {}, name="lstm")
    closed: list[Any] = []
    monkeypatch.setattr(Painted, "close", lambda env: closed.append(env))

    def fail(*_: Any) -> None:
        raise RuntimeError("out of paint")

    monkeypatch.setattr(Painted, "step", fail)
    with pytest.raises(RuntimeError, match="out of paint"):
        record(agent)
    assert len(closed) == 1
    with pytest.raises(RuntimeError, match="out of paint"):
        measure(agent, 2, 0)
    assert len(closed) == 3
