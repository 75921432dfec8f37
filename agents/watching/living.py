"""A trained agent and its maze as plain data, for the live page, which runs both in a browser."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from plasticrl.agents.failures import closing_env
from plasticrl.agents.policies import PlasticPolicy
from plasticrl.agents.training.environments import build_single_env
from plasticrl.agents.watching.agent import TrainedAgent
from plasticrl.core.cells.composed import Composed
from plasticrl.core.cells.configs import PlasticRNNConfig
from plasticrl.core.cells.plastic_rnn import PlasticRNN
from plasticrl.core.modulation import Neuromodulator
from plasticrl.envs import GridMazeBatch, resolve_id
from plasticrl.runs import UsageError
from plasticrl.viewer import LiveAgent

MOST_UNITS = 256
"""The largest core of a live page. The trace has the square of this number of entries."""
LARGEST_MAZE = 31
"""The largest outer side length of a maze on a live page, where each cell can be clicked."""
GRID_MAZE = "plasticrl/GridMaze-v0"


def live_agent(agent: TrainedAgent, seed: int, deterministic: bool = False) -> LiveAgent:
    """Return the data of the live page for an agent.

    Args:
        seed: the seed of the page's random numbers.
        deterministic: take the most likely action instead of a sample.

    Raises:
        UsageError: the page does not support the agent's core, its environment, or an option of
            its training.
    """
    maze = _maze(agent)
    config, core = agent.config, agent.policy.core
    options = {
        "normalize": config.normalize,
        "wrapper": config.wrapper,
        "trials": config.trials > 1,
        "net_arch": config.algorithm.net_arch,
    }
    if given := [name for name, is_given in options.items() if is_given]:
        raise UsageError(
            "a live page computes only the core and the maze, so it cannot show an agent that was "
            f"trained with {', '.join(given)}"
        )
    if isinstance(core, Composed):
        raise UsageError(
            "a live page shows a core of one layer that actor and critic share, so it cannot show "
            "an agent with several layers or share_features_extractor=False"
        )
    if not isinstance(core, PlasticRNN) or core.hidden_size > MOST_UNITS:
        raise _refusal(agent)
    chosen = core.config
    assert isinstance(chosen, PlasticRNNConfig)
    not_computed = {
        "rule": chosen.rule == "abcd",
        "modulation": chosen.modulation == "gated",
        "modulator": chosen.modulator == "pair",
        "eligibility_squash": chosen.eligibility_squash == "tanh",
        "trial_input": chosen.trial_input is not None,
    }
    if given := [f"{n}={getattr(chosen, n)!r}" for n, is_given in not_computed.items() if is_given]:
        raise UsageError(f"a live page cannot show a core with {' and '.join(given)}")
    return LiveAgent(
        about=(
            f"The agent is a {agent.config.core.name} of {core.hidden_size} units, trained for "
            f"{agent.n_timesteps:,} steps ({agent.run.preset})"
        ),
        net=_net(core, agent.policy),
        maze=maze,
        seed=seed,
        deterministic=deterministic,
    )


def _refusal(agent: TrainedAgent, size: str = "") -> UsageError:
    return UsageError(
        f"a live page shows a plastic_rnn of at most {MOST_UNITS} units in {GRID_MAZE} of size at "
        f"most {LARGEST_MAZE}, not {agent.config.core.name} of {agent.policy.core.hidden_size} "
        f"units in {agent.config.env_id}{size}"
    )


def _maze(agent: TrainedAgent) -> dict[str, Any]:
    if resolve_id(agent.config.env_id) != GRID_MAZE:
        raise _refusal(agent)
    if "max_episode_steps" in agent.config.env_kwargs:
        raise UsageError("a live page has no max_episode_steps: train with episode_length instead")
    with closing_env(build_single_env(agent.config, render_mode=None)) as env:
        batch: GridMazeBatch = env.unwrapped.batch  # type: ignore[attr-defined]
    size = len(batch.maze.walls)
    if size > LARGEST_MAZE:
        raise _refusal(agent, f" of size {size}")
    return {
        "size": size,
        "episode_length": batch.episode_length,
        "goal_reward": batch.goal_reward,
        "wall_penalty": batch.wall_penalty,
        "step_penalty": batch.step_penalty,
        "goal_moves": batch.goal_moves,
        "random_start": batch.random_start,
        "goals": batch.maze.goals.tolist(),
    }


def _net(core: PlasticRNN, policy: PlasticPolicy) -> dict[str, Any]:
    connection = core.connection
    options, modulator = connection.plasticity, connection.modulator
    assert modulator is None or isinstance(modulator, Neuromodulator)
    limit = connection.trace_limit
    shape = connection.weight.shape
    return {
        "rule": options.rule,
        "bound": options.bound,
        "clip": options.clip,
        "limit": limit if math.isfinite(limit) else None,
        "modulation": options.modulation,
        "modulator_activation": options.modulator_activation,
        "eta": None if connection.eta is None else connection.eta.item(),
        "input": _unit_layer(core.hidden_size) if core.input is None else _layer(core.input),
        "weight": _array(connection.weight),
        "alpha": np.broadcast_to(_array(connection.alpha), shape),
        "modulator": None if modulator is None else _layer(modulator),
        "fan_out": None
        if modulator is None or modulator.fan_out is None
        else _layer(modulator.fan_out),
        "action_head": _layer(policy.action_net),
        "value_head": _value_head(policy),
    }


def _value_head(policy: PlasticPolicy) -> dict[str, NDArray[np.float32]]:
    """The value layer with the scale of ``PlasticPolicy.rescale_values``."""
    layer = _layer(policy.value_net)
    mean, std = _array(policy.value_mean), _array(policy.value_std)
    return {"weight": layer["weight"] * std, "bias": layer["bias"] * std + mean}


def _layer(linear: nn.Module) -> dict[str, NDArray[np.float32]]:
    assert isinstance(linear, nn.Linear)
    return {"weight": _array(linear.weight), "bias": _array(linear.bias)}


def _unit_layer(size: int) -> dict[str, NDArray[np.float32]]:
    """An identity layer, for ``input_mode="additive"``, which has no input weights."""
    return {"weight": np.eye(size, dtype=np.float32), "bias": np.zeros(size, np.float32)}


def _array(tensor: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = tensor.detach().cpu().numpy()
    return array
