"""RecurrentA2C with an LSTM core against sb3-contrib's RecurrentPPO."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from benchmarks.measuring import Settings, Timing, alternated, ratio
from benchmarks.report import Row, Table
from plasticrl.agents.env_util import make_vec_env
from plasticrl.agents.recurrent_a2c import RecurrentA2C

ENV_ID = "plasticrl/GridMaze-v0"
ENV_KWARGS = {"size": 9}
N_ENVS = 30
N_STEPS, QUICK_N_STEPS = 200, 20
HIDDEN_SIZE = 64
NET_ARCH = {"pi": [64, 64], "vf": [64, 64]}
SEED = 0

SHARED = "RecurrentPPO, one LSTM for actor and critic"
DEFAULT = "RecurrentPPO, an LSTM for each (its default)"
NOTES = (
    "learn() of one rollout at a time, alternating in one process; an LSTM of "
    f"{HIDDEN_SIZE} units, then {NET_ARCH['pi']} for each head; the same native batch.",
    "RecurrentPPO trains for one epoch with the whole rollout as one batch. RecurrentA2C has one "
    "LSTM for actor and critic.",
)
MISSING = "sb3-contrib is not installed: pip install sb3-contrib"


def measure(settings: Settings) -> list[Table]:
    """One table, RecurrentA2C against both forms of RecurrentPPO."""
    n_steps = QUICK_N_STEPS if settings.quick else N_STEPS
    title = f"GridMaze 9 x 9, {N_ENVS} environments x {n_steps} steps"
    if find_spec("sb3_contrib") is None:
        return [Table(title, [], (MISSING,))]
    learners = {
        "a2c": _a2c(n_steps),
        SHARED: _ppo(n_steps, shared_lstm=True, enable_critic_lstm=False),
        DEFAULT: _ppo(n_steps),
    }
    rollout = N_ENVS * n_steps
    actions = {name: _learn_once(model, rollout) for name, model in learners.items()}
    timings = alternated(actions, settings.repeat)
    rows = [_row(name, rollout, timings["a2c"], timings[name]) for name in (SHARED, DEFAULT)]
    return [Table(title, rows, NOTES)]


def _row(name: str, rollout: int, a2c: Timing, ppo: Timing) -> Row:
    return {
        "against": name,
        "RecurrentA2C [steps/s]": rollout / a2c.median,
        "RecurrentPPO [steps/s]": rollout / ppo.median,
        "RecurrentA2C / RecurrentPPO": ratio(ppo, a2c),
    }


def _learn_once(model: OnPolicyAlgorithm, rollout: int) -> Callable[[], object]:
    return lambda: model.learn(rollout, reset_num_timesteps=False)


def _env() -> VecEnv:
    return make_vec_env(ENV_ID, N_ENVS, SEED, env_kwargs=ENV_KWARGS)


def _a2c(n_steps: int) -> OnPolicyAlgorithm:
    return RecurrentA2C(
        "PlasticPolicy",
        _env(),
        n_steps=n_steps,
        policy_kwargs={
            "core": "lstm",
            "core_kwargs": {"hidden_size": HIDDEN_SIZE},
            "net_arch": NET_ARCH,
        },
        seed=SEED,
        device="cpu",
    )


def _ppo(n_steps: int, **policy_kwargs: Any) -> OnPolicyAlgorithm:
    from sb3_contrib import RecurrentPPO  # imported here since it is optional

    model: OnPolicyAlgorithm = RecurrentPPO(
        "MlpLstmPolicy",
        _env(),
        n_steps=n_steps,
        batch_size=N_ENVS * n_steps,
        n_epochs=1,
        policy_kwargs={"lstm_hidden_size": HIDDEN_SIZE, "net_arch": NET_ARCH, **policy_kwargs},
        seed=SEED,
        device="cpu",
    )
    return model
