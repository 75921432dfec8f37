"""One episode of a trained agent, recorded step by step for the viewer."""

import math
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray

from plasticrl.agents.policies import PlasticPolicy
from plasticrl.agents.training.config import TrainConfig
from plasticrl.envs import BatchEnv, HistoryObservation
from plasticrl.runs import UsageError
from plasticrl.viewer import EpisodeTrace, SynapseRecorder

LONGEST_SIDE = 400
"""Pixels: larger frames are made smaller, by a whole number."""


@dataclass
class _Columns:
    """What is written down at every step."""

    frames: list[NDArray[np.uint8]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    states: list[dict[str, NDArray[Any]]] = field(default_factory=list)
    actions: list[NDArray[Any]] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    modulation: list[float] = field(default_factory=list)


@torch.no_grad()
def record_episode(
    policy: PlasticPolicy,
    config: TrainConfig,
    preset: str,
    seed: int,
    render_mode: str | None,
    deterministic: bool = False,
    ablated: bool = False,
    longest: int | None = None,
    picture_every: int = 1,
) -> EpisodeTrace:
    """Play one episode and keep what the viewer shows.

    Args:
        policy: the agent.
        config: says which environment.
        preset: the run's, for the title.
        seed: of the environment and of the actions.
        render_mode: "rgb_array" for frames, "ansi" for texts; None for neither.
        deterministic: the most likely action instead of a sample.
        ablated: say in the title that the policy is one that ``ablate`` gave.
        longest: steps after which to stop, for environments that may never end.
        picture_every: steps from one drawing to the next, which stands for those between.

    Raises:
        UsageError: the environment cannot be made, or draws what is no picture.
    """
    with closing(_single_env(config, render_mode)) as env:
        torch.manual_seed(seed)
        columns, synapses = _Columns(), _synapse_recorder(policy)
        obs, _ = env.reset(seed=seed)
        batch = getattr(env.unwrapped, "batch", None)
        native = batch if isinstance(batch, BatchEnv) else None
        setting = native.row_setting(0) if native is not None else {}
        state, done = None, False
        while not done:
            if render_mode is not None:
                if len(columns.actions) % picture_every == 0:
                    _keep_picture(columns, env.render(), config.env_id)
                else:
                    _repeat_picture(columns)
            if native is not None:
                columns.states.append(native.row_state(0))
            actions, values, _, state = policy.step(
                policy.obs_to_tensor(obs)[0], state, None, deterministic
            )
            action = policy.clip(actions.cpu().numpy())[0]
            obs, reward, terminated, truncated, _ = env.step(action)
            done = terminated or truncated or len(columns.actions) + 1 == longest
            columns.actions.append(action)
            columns.rewards.append(float(reward))
            columns.values.append(float(values))
            if (modulation := policy.core.modulation(state)) is not None:
                columns.modulation.append(modulation.mean().item())
            if synapses is not None:
                synapses.add(state.trace[0].cpu().numpy())
    return EpisodeTrace(
        title=f"{preset}, seed {seed}" + (", plasticity ablated" if ablated else ""),
        env_id=config.env_id,
        preset=preset,
        seed=seed,
        ablated=ablated,
        actions=np.stack(columns.actions),
        rewards=np.array(columns.rewards),
        values=np.array(columns.values),
        modulation=np.array(columns.modulation) if columns.modulation else None,
        synapses=None if synapses is None else synapses.synapses(),
        frames=np.stack(columns.frames) if columns.frames else None,
        texts=tuple(columns.texts) if columns.texts else None,
        state={
            name: np.stack([now[name] for now in columns.states])
            for name in (columns.states or [{}])[0]
        },
        setting=setting,
    )


def _synapse_recorder(policy: PlasticPolicy) -> SynapseRecorder | None:
    connection = policy.core.connection
    if connection is None:
        return None
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
    elif (reason := _why_no_picture(picture)) is None:
        columns.frames.append(_shrunk(picture))
    else:
        raise UsageError(f"{env_id} cannot be shown: {reason}")


def _repeat_picture(columns: _Columns) -> None:
    columns.frames += columns.frames[-1:]
    columns.texts += columns.texts[-1:]


def _why_no_picture(picture: Any) -> str | None:
    """Why what was drawn is no uint8 (height, width, 3); None where it is."""
    found = "None" if picture is None else type(picture).__name__
    if isinstance(picture, np.ndarray):
        if picture.dtype == np.uint8 and picture.shape[2:] == (3,) and picture.size:
            return None
        found = f"{picture.dtype} {picture.shape}"
    return f"a picture must be uint8 (height, width, 3) or a text, not {found}"


def _shrunk(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The frame with both sides at most ``LONGEST_SIDE``: means of square blocks."""
    factor = -(-max(frame.shape[:2]) // LONGEST_SIDE)
    if factor == 1:
        return frame
    height, width = (side // factor for side in frame.shape[:2])
    blocks = frame[: height * factor, : width * factor].reshape(height, factor, width, factor, -1)
    means: NDArray[np.uint8] = np.rint(blocks.mean(axis=(1, 3))).astype(np.uint8)
    return means


def _single_env(config: TrainConfig, render_mode: str | None) -> gym.Env[Any, Any]:
    try:
        options: dict[str, Any] = dict(config.env_kwargs)
        if render_mode is not None:
            options["render_mode"] = render_mode
        env = gym.make(config.env_id, **options)
        return HistoryObservation(env) if config.history else env
    except (gym.error.Error, ImportError, TypeError) as error:
        raise UsageError(f"{config.env_id} cannot be shown: {error}") from error


def render_modes(config: TrainConfig) -> list[str]:
    """The ways the environment can be drawn."""
    with closing(_single_env(config, render_mode=None)) as env:
        modes: list[str] = env.metadata.get("render_modes", [])
    return modes


def why_no_frames(config: TrainConfig, modes: list[str]) -> str | None:
    """Why the environment gives no `rgb_array` pictures on this machine; None where it does."""
    if "rgb_array" not in modes:
        return f"{config.env_id} gives no pictures (rgb_array)"
    try:
        with closing(_single_env(config, "rgb_array")) as env:
            env.reset(seed=0)
            reason = _why_no_picture(env.render())
    except UsageError as error:
        return str(error)
    # Drawing is somebody else's library, and a display or a driver may fail it in any way.
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
    return None if reason is None else f"{config.env_id} gives no pictures: {reason}"
