"""Presets: configs of training runs, named ``<task>-<scale>``.

``quickstart`` learns within minutes on two cores, ``tuned`` has the best values we know, and
``paper`` has those of BP 2019: Backpropamine, Miconi et al. 2019, arXiv 2002.10585. A preset is a
plain function whose docstring says where its numbers come from. The presets set the algorithm's
options themselves, because the defaults in ``plasticrl.agents.options`` are meant for a user's own
environment.
"""

from collections.abc import Callable
from dataclasses import replace

from plasticrl.agents.options import DEFAULT_CORE
from plasticrl.agents.training.config import (
    A2CConfig,
    A2CTrainConfig,
    CurriculumConfig,
    PPOConfig,
    PPOTrainConfig,
    TrainConfig,
)
from plasticrl.core.cells.configs import PlasticRNNConfig, vary

PAPER_A2C = A2CConfig(
    n_steps=200,
    learning_rate=1e-4,
    core_lr_scale=1.0,
    gamma=0.9,
    gae_lambda=1.0,
    ent_coef=0.03,
    entropy="simpson",
    vf_coef=0.1,
    max_grad_norm=4.0,
    normalize_advantage=False,
    normalize_returns=False,
    bootstrap_truncated=False,
    adam_eps=1e-4,
    ortho_init=False,
)
"""A2C for the maze, as in BP 2019 (arXiv 2002.10585), section 4.2."""
QUICKSTART_A2C = replace(PAPER_A2C, learning_rate=1e-3, adam_eps=1e-5)
"""``PAPER_A2C`` with a larger learning rate, for the presets that train within minutes."""


def maze_quickstart() -> A2CTrainConfig:
    """The grid maze of outer size 9, learned in about 3 minutes on one core.

    It uses a smaller net than the paper and four updates per episode instead of one. The recurrent
    state is kept from one rollout to the next; gradients are truncated there. The learning rate
    falls to zero in the second half of the training, which raised the reward by about 15 (seeds 0
    and 1); see results/quickstart.md.
    """
    return A2CTrainConfig(
        env_id="plasticrl/GridMaze-v0",
        env_kwargs={"size": 9, "episode_length": 200},
        total_timesteps=4_800_000,
        checkpoint_every=400,
        core=PlasticRNNConfig(
            hidden_size=64,
            modulation="simple",
            fan_out=True,
            clip=2.0,
            weight_scale=0.001,
            alpha_scale=0.001,
        ),
        a2c=replace(QUICKSTART_A2C, n_steps=50, learning_rate_decay=0.5),
    )


def maze_tuned() -> A2CTrainConfig:
    """The grid maze of outer size 9, trained for 60 million steps, about 12 minutes on one core.

    It is ``maze_quickstart`` with more steps. The learning rate falls to zero in the last seven
    tenths, and the weight of the entropy in the second half, since an agent that knows where the
    reward is has nothing to explore. results/maze.md has what was tried.
    """
    quickstart = maze_quickstart()
    return replace(
        quickstart,
        total_timesteps=60_000_000,
        checkpoint_every=4_000,
        a2c=replace(quickstart.a2c, learning_rate_decay=0.7, ent_coef_decay=0.5),
    )


def maze_paper() -> A2CTrainConfig:
    """The grid maze as in BP 2019 (arXiv 2002.10585) section 4.2: size 11, 200,000 iterations.

    This is the paper's variant with simple modulation and fan-out (22,606 parameters). Unlike the
    paper, it clips the trace at 2.
    """
    return A2CTrainConfig(
        env_id="plasticrl/GridMaze-v0",
        env_kwargs={"size": 11, "episode_length": 200},
        total_timesteps=200_000 * 30 * 200,
        checkpoint_every=500,
        core=PlasticRNNConfig(
            hidden_size=100,
            modulation="simple",
            fan_out=True,
            clip=2.0,
            weight_scale=0.01,
            alpha_scale=0.01,
        ),
        a2c=PAPER_A2C,
    )


def cue_reward_quickstart() -> A2CTrainConfig:
    """Cue-reward association with 2 cues of 5 bits, learned in about 2 minutes on one core.

    It uses a smaller net than the paper and two updates per episode, which reached the same reward
    in half the time (seed 0); compare ``maze_quickstart``.
    """
    return A2CTrainConfig(
        env_id="plasticrl/CueReward-v0",
        env_kwargs={"n_cues": 2, "cue_bits": 5, "episode_length": 120},
        total_timesteps=2_700_000,
        checkpoint_every=400,
        core=PlasticRNNConfig(
            hidden_size=64,
            modulation="simple",
            fan_out=True,
            clip=2.0,
            weight_scale=0.001,
            alpha_scale=0.001,
        ),
        a2c=replace(QUICKSTART_A2C, n_steps=60, ent_coef=0.1, max_grad_norm=2.0),
    )


def cue_reward_paper() -> A2CTrainConfig:
    """Cue-reward association as in BP 2019 section 4.1: 4 cues of 20 bits, 200,000 iterations.

    Episode length and gradient norm are from the authors' published code (the paper says 200 and
    7). This is the paper's variant with simple modulation; ``core.modulation`` selects the others.
    """
    return A2CTrainConfig(
        env_id="plasticrl/CueReward-v0",
        env_kwargs={"n_cues": 4, "cue_bits": 20, "episode_length": 120},
        total_timesteps=200_000 * 30 * 120,
        checkpoint_every=500,
        core=PlasticRNNConfig(
            hidden_size=200,
            modulation="simple",
            weight_scale=0.01,
            alpha_scale=0.01,
        ),
        a2c=replace(PAPER_A2C, n_steps=120, adam_eps=1e-6, ent_coef=0.1, max_grad_norm=2.0),
    )


def cue_reward_tuned() -> A2CTrainConfig:
    """Cue-reward association at the papers' size, 4 cues of 20 bits, with a curriculum.

    The curriculum has 2 cues, then 3, then 4; without it, nothing was learned within 12 million
    steps. An episode has 200 steps, as in the paper's text. The discount factor is 0, because an
    answer decides only its own reward. The learning rate and the weight of the entropy fall to
    zero. results/cue-reward.md has what was tried.
    """
    quickstart = cue_reward_quickstart()
    return replace(
        quickstart,
        core=vary(quickstart.core, {"hidden_size": 96})[0],
        a2c=replace(
            quickstart.a2c,
            n_steps=100,
            gamma=0.0,
            normalize_returns=True,
            learning_rate_decay=1.0,
            ent_coef_decay=0.7,
        ),
        env_kwargs={"n_cues": 4, "cue_bits": 20, "episode_length": 200},
        total_timesteps=50_000_000,
        checkpoint_every=2_000,
        curriculum=CurriculumConfig(option="n_cues", stages=(2, 3, 4)),
    )


def _short_tasks(env_id: str) -> A2CTrainConfig:
    """The settings of tasks in which small rewards come often: ``maze_quickstart``'s net and rates.

    More environments take part in an update, and the entropy is Shannon's.
    """
    maze = maze_quickstart()
    return replace(
        maze,
        env_id=env_id,
        env_kwargs={},
        n_envs=60,
        total_timesteps=6_000_000,
        a2c=replace(maze.a2c, entropy="shannon"),
    )


def bandit_quickstart() -> A2CTrainConfig:
    """Bernoulli bandits with two independent arms, learned in about 2 minutes on one core.

    The settings are those of ``maze_quickstart``, with 60 environments and Shannon's entropy.
    """
    return _short_tasks("plasticrl/Bandit-v0")


def two_step_quickstart() -> A2CTrainConfig:
    """The two-step task, learned in about 2 minutes on one core.

    The settings are those of ``bandit_quickstart``.
    """
    return _short_tasks("plasticrl/TwoStep-v0")


def harlow_quickstart() -> A2CTrainConfig:
    """Harlow's task in one dimension, learned in about 3 minutes on one core.

    The settings are those of ``bandit_quickstart``, but with more steps, and more weight on the
    entropy at first: with 0.03, the agent stopped exploring too early, and was right in 73 % of the
    later trials (seed 0).
    """
    tasks = _short_tasks("plasticrl/Harlow-v0")
    a2c = replace(tasks.a2c, ent_coef=0.1, ent_coef_decay=0.5)
    return replace(tasks, total_timesteps=15_000_000, a2c=a2c)


def a2c() -> A2CTrainConfig:
    """RecurrentA2C on an environment of your own, with its defaults; name it by ``--env-id``.

    Observations and rewards are normalized: see ``results/defaults.md``.
    """
    return A2CTrainConfig(
        normalize=True,
        n_envs=8,
        total_timesteps=100_000,
        core=DEFAULT_CORE,
        a2c=A2CConfig(net_arch=(64, 64)),
    )


def ppo() -> PPOTrainConfig:
    """RecurrentPPO on an environment of your own, with its defaults; name it by ``--env-id``.

    Observations and rewards are normalized: see ``results/defaults.md``.
    """
    return PPOTrainConfig(
        normalize=True,
        n_envs=8,
        total_timesteps=100_000,
        checkpoint_every=10,
        core=DEFAULT_CORE,
        ppo=PPOConfig(net_arch=(64, 64)),
    )


GENERIC = ("a2c", "ppo")
"""Presets for an environment that the user names."""
PRESETS: dict[str, Callable[[], TrainConfig]] = {
    "maze-quickstart": maze_quickstart,
    "maze-tuned": maze_tuned,
    "maze-paper": maze_paper,
    "cue-reward-quickstart": cue_reward_quickstart,
    "cue-reward-tuned": cue_reward_tuned,
    "cue-reward-paper": cue_reward_paper,
    "bandit-quickstart": bandit_quickstart,
    "two-step-quickstart": two_step_quickstart,
    "harlow-quickstart": harlow_quickstart,
    "a2c": a2c,
    "ppo": ppo,
}
"""The presets by name."""
