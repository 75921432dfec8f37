"""One episode of a trained agent, recorded step by step for the viewer."""

from typing import Any

import gymnasium as gym
import numpy as np
import torch

from plasticrl.agents.config import TrainConfig, UsageError
from plasticrl.agents.policies import PlasticPolicy
from plasticrl.envs import HistoryObservation
from plasticrl.viewer import EpisodeTrace


@torch.no_grad()
def record_episode(
    policy: PlasticPolicy,
    config: TrainConfig,
    title: str,
    seed: int,
    render_mode: str | None,
    deterministic: bool = False,
) -> EpisodeTrace:
    """Play one episode and keep what the viewer shows.

    Args:
        policy: the agent.
        config: says which environment.
        title: one line.
        seed: of the environment and of the actions.
        render_mode: "rgb_array" for frames, "ansi" for texts; None for neither.
        deterministic: the most likely action instead of a sample.
    """
    env = _single_env(config, render_mode)
    torch.manual_seed(seed)
    steps: list[dict[str, Any]] = []
    obs, _ = env.reset(seed=seed)
    state, done = None, False
    while not done:
        picture = _picture(env, config) if render_mode is not None else None
        batch = policy.obs_to_tensor(obs)[0]
        actions, values, _, state = policy.step(batch, state, None, deterministic)
        action = policy.clip(actions.cpu().numpy())[0]
        obs, reward, terminated, truncated, _ = env.step(action)
        done = terminated or truncated
        steps.append(
            {
                "picture": picture,
                "action": action,
                "reward": float(reward),
                "value": float(values),
                "modulation": policy.core.modulation(state),
                "trace": getattr(state, "trace", None),
            }
        )
    env.close()
    return _episode(title, steps, render_mode)


def _episode(title: str, steps: list[dict[str, Any]], render_mode: str | None) -> EpisodeTrace:
    def column(name: str) -> list[Any]:
        return [step[name] for step in steps]

    modulated = steps[0]["modulation"] is not None
    plastic = steps[0]["trace"] is not None
    return EpisodeTrace(
        title=title,
        frames=np.stack(column("picture")) if render_mode == "rgb_array" else None,
        texts=tuple(column("picture")) if render_mode == "ansi" else None,
        actions=np.stack(column("action")),
        rewards=np.array(column("reward")),
        values=np.array(column("value")),
        modulation=np.array([m.mean().item() for m in column("modulation")]) if modulated else None,
        trace=torch.cat(column("trace")).cpu().numpy() if plastic else None,
    )


def _picture(env: gym.Env[Any, Any], config: TrainConfig) -> Any:
    try:
        return env.render()
    except gym.error.DependencyNotInstalled as error:
        raise UsageError(f"{config.env_id} cannot be shown: {error}") from error


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
    env = _single_env(config, render_mode=None)
    modes: list[str] = env.metadata.get("render_modes", [])
    env.close()
    return modes
