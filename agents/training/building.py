"""Builds the curriculum and the untrained model of a run from its config."""

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import gymnasium as gym
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.vec_env import VecEnv

from plasticrl.agents.curriculum import Curriculum
from plasticrl.agents.normalization import normalized
from plasticrl.agents.on_policy import RecurrentOnPolicyAlgorithm
from plasticrl.agents.recurrent_a2c import RecurrentA2C
from plasticrl.agents.recurrent_ppo import RecurrentPPO
from plasticrl.agents.training.config import TrainConfig
from plasticrl.core import OptionError
from plasticrl.runs import UsageError


def build_curriculum(config: TrainConfig) -> Curriculum | None:
    """Build the run's curriculum, at its first stage; None if the config has none."""
    chosen = config.curriculum
    if chosen.option is None:
        return None
    return Curriculum(chosen.option, chosen.stages, chosen.threshold, chosen.episodes)


class RunAlgorithm(RecurrentOnPolicyAlgorithm):
    """An algorithm that logs the time since the start of the run, even in a resumed run."""

    run_started_ns = 0
    """The current time minus the time trained so far, in nanoseconds, when ``learn`` begins."""

    def dump_logs(self, iteration: int = 0) -> None:
        """Write the log, with time and steps counted from the start of the run."""
        self.start_time, self._num_timesteps_at_start = self.run_started_ns, 0
        super().dump_logs(self.n_rollouts)


class RunA2C(RunAlgorithm, RecurrentA2C):
    """``RecurrentA2C`` of a run."""


class RunPPO(RunAlgorithm, RecurrentPPO):
    """``RecurrentPPO`` of a run."""


ALGORITHMS: dict[str, Any] = {"a2c": RunA2C, "ppo": RunPPO}
"""The algorithms of runs, by the names of their configs."""


def build_model(config: TrainConfig, env: VecEnv) -> RunAlgorithm:
    """Build the run's algorithm, with an untrained policy, on ``env``, normalized if asked for.

    Raises:
        UsageError: the algorithm or its core does not fit the environment's spaces.
    """
    chosen = config.algorithm
    algorithm = ALGORITHMS[config.name]
    options = {item.name: getattr(chosen, item.name) for item in fields(algorithm.options_type)}
    options["learning_rate"] = _schedule(chosen.learning_rate, chosen.learning_rate_decay)
    options["ent_coef"] = _schedule(chosen.ent_coef, chosen.ent_coef_decay)
    if config.normalize:
        env = normalized(env, chosen.gamma)
    try:
        model: RunAlgorithm = algorithm(
            _policy_for(env),
            env,
            policy_kwargs={
                "core": config.core.name,
                "core_kwargs": {
                    item.name: getattr(config.core, item.name) for item in fields(config.core)
                },
                "net_arch": list(chosen.net_arch),
                "share_features_extractor": chosen.share_features_extractor,
                "ortho_init": chosen.ortho_init,
                "optimizer_kwargs": {"eps": chosen.adam_eps},
            },
            seed=config.seed,
            device=config.device,
            **options,
        )
    except OptionError as error:  # an option that does not fit the observations
        raise UsageError(f"core: {error}") from error
    return model


def _schedule(start: float, decay: float) -> float | Callable[[float], float]:
    """A number, or a function of the remaining progress that falls to zero at the end."""
    if not decay:
        return start
    # The last rollout may exceed the total number of steps, which makes the progress negative.
    return lambda remaining: start * min(1.0, max(0.0, remaining) / decay)


def _policy_for(env: VecEnv) -> str:
    space = env.observation_space
    if isinstance(space, gym.spaces.Dict):
        return "MultiInputPlasticPolicy"
    image = is_image_space(space) and min(_sides(space)) >= SMALLEST_IMAGE
    return "CnnPlasticPolicy" if image else "PlasticPolicy"


SMALLEST_IMAGE = 36
"""The smallest side, in pixels, of an image for SB3's ``NatureCNN``; smaller ones are flattened."""


def _sides(image: gym.spaces.Space[Any]) -> tuple[int, ...]:
    """Height and width, in any order, of an image (H, W, channels) or (channels, H, W)."""
    assert image.shape is not None
    return tuple(sorted(image.shape)[1:])
