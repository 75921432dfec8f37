"""Records an episode of a trained agent step by step, for the viewer."""

import math
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray

from plasticrl.agents.failures import closing_env, environment_errors
from plasticrl.agents.masking import get_single_masks
from plasticrl.agents.policies import PlasticPolicy
from plasticrl.agents.training.config import TrainConfig
from plasticrl.agents.training.environments import build_single_env
from plasticrl.agents.watching.agent import TrainedAgent
from plasticrl.envs import Scene as SceneNow
from plasticrl.envs import SingleEnv
from plasticrl.runs import DivergedError, UsageError
from plasticrl.viewer import EpisodeTrace, Scene, Symbol, SynapseRecorder
from plasticrl.viewer.scene import LARGEST_SIDE

LONGEST = 2_000
"""Steps after which a recorded episode is cut, because some environments never end one."""
LONGEST_SIDE = 400
"""The longest side of a recorded frame in pixels. Larger frames shrink by an integer factor."""


@dataclass
class _Columns:
    """Lists with one entry for every step."""

    frames: list[NDArray[np.uint8]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    scenes: list[SceneNow] = field(default_factory=list)
    actions: list[NDArray[Any]] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    modulation: list[float] = field(default_factory=list)


@torch.no_grad()
def record_episode(
    agent: TrainedAgent,
    seed: int,
    render_mode: str | None,
    deterministic: bool = False,
    longest: int = LONGEST,
    picture_every: int = 1,
) -> EpisodeTrace:
    """Play one episode and record it for the viewer.

    The modulation and the synapses are those of the last plastic cell before the actions: of a core
    with several layers the last layer, and of a separate actor and critic the actor's.

    If the environment describes its scene (``SingleEnv.scene``), the scene is recorded with any
    ``render_mode``.

    Args:
        seed: the seed of the environment and of the actions.
        render_mode: "rgb_array" records frames and "ansi" texts; None records neither.
        deterministic: take the most likely action instead of a sample.
        longest: the recording ends after this many steps.
        picture_every: steps from one rendering to the next; the steps between repeat the picture.

    Raises:
        UsageError: the environment cannot be made, or does not render images of one size, or texts.
        UserCodeError: the environment failed.
        DivergedError: a reward or the net's activity is not finite.
    """
    config, policy, ablated = agent.config, agent.policy, agent.is_ablated
    with closing_env(build_single_env(config, render_mode)) as env:
        torch.manual_seed(seed)
        columns, synapses = _Columns(), _synapse_recorder(policy)
        with environment_errors(env):
            obs, _ = env.reset(seed=seed)
        state, done, terminated = None, False, False
        while not done:
            if render_mode is not None:
                if len(columns.actions) % picture_every == 0:
                    with environment_errors(env):
                        picture = env.render()
                    _keep_picture(columns, picture, config.env_id)
                else:
                    _repeat_picture(columns)
            if (scene := _scene_of(env)) is not None:
                columns.scenes.append(scene)
            with environment_errors(env):
                masks = get_single_masks(env)
            actions, values, _, state = policy.step(
                policy.obs_to_tensor(agent.normalize_obs(obs))[0], state, None, deterministic, masks
            )
            action = policy.clip(actions.cpu().numpy())[0]
            with environment_errors(env):
                obs, reward, terminated, truncated, _ = env.step(action)
                columns.rewards.append(float(reward))
            if not math.isfinite(columns.rewards[-1]):
                raise DivergedError(f"{config.env_id} gave the reward {columns.rewards[-1]}")
            done = terminated or truncated or len(columns.actions) + 1 == longest
            columns.actions.append(action)
            columns.values.append(float(values))
            for cell, part in policy.actor_cells(state)[-1:]:
                if (modulation := cell.modulation(part)) is not None:
                    columns.modulation.append(modulation.mean().item())
                assert synapses is not None
                synapses.add(part.trace[0].cpu().numpy())
    return EpisodeTrace(
        title=f"{config.env_id}, seed {seed}" + (", plasticity ablated" if ablated else ""),
        env_id=config.env_id,
        preset=agent.run.preset,
        seed=seed,
        ablated=ablated,
        terminated=bool(terminated),
        actions=np.stack(columns.actions),
        rewards=np.array(columns.rewards),
        values=np.array(columns.values),
        modulation=np.array(columns.modulation) if columns.modulation else None,
        synapses=None if synapses is None else synapses.synapses(),
        scene=_stacked(columns.scenes),
        frames=np.stack(columns.frames) if columns.frames else None,
        texts=tuple(columns.texts) if columns.texts else None,
    )


def _scene_of(env: gym.Env[Any, Any]) -> SceneNow | None:
    """The environment's current scene; None if it does not describe one or it is too large."""
    if not isinstance(env.unwrapped, SingleEnv):
        return None
    scene = env.unwrapped.scene()
    return scene if max(scene.grid.shape) <= LARGEST_SIDE else None


def _stacked(scenes: list[SceneNow]) -> Scene | None:
    """The scenes of all steps of an episode, in the viewer's format."""
    if not scenes:
        return None
    first = scenes[0]
    return Scene(
        symbols=tuple(Symbol(*symbol) for symbol in first.symbols),
        grid=np.stack([scene.grid for scene in scenes]),
        captions=tuple(scene.caption for scene in scenes),
        actions=first.actions,
        trail=first.trail,
        goal=first.goal,
    )


def _synapse_recorder(policy: PlasticPolicy) -> SynapseRecorder | None:
    cells = policy.actor_cells(policy.initial_state(0))
    if not cells:
        return None
    connection = cells[-1][0].connection
    assert connection is not None
    limit = connection.trace_limit
    return SynapseRecorder(
        weight=connection.weight.cpu().numpy(),
        alpha=connection.alpha.cpu().numpy(),
        bound=limit if limit < math.inf else None,
        eta=None if connection.eta is None else connection.eta.item(),
    )


def _keep_picture(columns: _Columns, picture: Any, env_id: str) -> None:
    if isinstance(picture, str):
        columns.texts.append(picture)
        return
    reason = _why_no_picture(picture)
    frame = _shrunk(picture) if reason is None else None
    if frame is not None and columns.frames and columns.frames[0].shape != frame.shape:
        reason = "its pictures are not all of the same size"
    if frame is None or reason is not None:
        raise UsageError(f"{env_id} cannot be shown: {reason}")
    columns.frames.append(frame)


def _repeat_picture(columns: _Columns) -> None:
    columns.frames += columns.frames[-1:]
    columns.texts += columns.texts[-1:]


def _why_no_picture(picture: Any) -> str | None:
    """Say why a rendering is not an image, which is uint8 (height, width, 3); None if it is."""
    found = "None" if picture is None else type(picture).__name__
    if isinstance(picture, np.ndarray):
        if picture.dtype == np.uint8 and picture.shape[2:] == (3,) and picture.size:
            return None
        found = f"{picture.dtype} {picture.shape}"
    return f"a picture must be uint8 (height, width, 3) or a text, not {found}"


def _shrunk(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Shrink a frame to sides of at most ``LONGEST_SIDE`` pixels, by averaging square blocks."""
    factor = -(-max(frame.shape[:2]) // LONGEST_SIDE)
    if factor == 1:
        return frame
    height, width = (side // factor for side in frame.shape[:2])
    blocks = frame[: height * factor, : width * factor].reshape(height, factor, width, factor, -1)
    means: NDArray[np.uint8] = np.rint(blocks.mean(axis=(1, 3))).astype(np.uint8)
    return means


def describes_scene(config: TrainConfig) -> bool:
    """Whether the environment describes its scene, so that a recording needs no rendering."""
    with closing_env(build_single_env(config, render_mode=None)) as env:
        if not isinstance(env.unwrapped, SingleEnv):
            return False
        env.reset(seed=0)
        return _scene_of(env) is not None


def frames_mode(config: TrainConfig) -> str | None:
    """The render mode for pages and stills: "rgb_array", or None.

    It is None if the scene is recorded instead, or if the environment cannot render frames.
    """
    if describes_scene(config) or why_no_frames(config, render_modes(config)) is not None:
        return None
    return "rgb_array"


def render_modes(config: TrainConfig) -> list[str]:
    """The render modes that the environment has."""
    with closing_env(build_single_env(config, render_mode=None)) as env:
        modes: list[str] = env.metadata.get("render_modes", [])
    return modes


def why_no_frames(config: TrainConfig, modes: list[str]) -> str | None:
    """Say why the environment cannot render frames on this machine; None if it can.

    Args:
        modes: the render modes that the environment has.
    """
    if "rgb_array" not in modes:
        return f"{config.env_id} gives no pictures (rgb_array)"
    try:
        with closing(build_single_env(config, "rgb_array")) as env:  # errors are reported below
            env.reset(seed=0)
            picture = env.render()
    except UsageError as error:
        return str(error)
    # Rendering may raise any exception, for example without a display or a driver.
    except (Exception, SystemExit) as error:
        reason: str | None = " ".join(str(error).split()) or type(error).__name__
    else:
        reason = _why_no_picture(picture)
    return None if reason is None else f"{config.env_id} gives no pictures: {reason}"


def choose_render_mode(config: TrainConfig, prefers_text: bool) -> tuple[str | None, str | None]:
    """Choose the render mode for recording an episode.

    Args:
        config: the config of the run; it names the environment.
        prefers_text: choose texts if the environment has both, as for a terminal.

    Returns:
        The render mode; None if the scene is recorded instead, or if nothing can be rendered.
        The reason why there are no pictures; None if there are some, or if none are needed.
    """
    if describes_scene(config):
        return None, None
    modes = render_modes(config)
    if prefers_text and "ansi" in modes:
        return "ansi", None
    reason = why_no_frames(config, modes)
    if reason is None:
        return "rgb_array", None
    return ("ansi" if "ansi" in modes else None), reason
