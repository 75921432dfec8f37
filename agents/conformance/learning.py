"""Properties of learning: the loss, saving, and an evaluation in between."""

import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.utils import set_random_seed
from torch import Tensor

from plasticrl.agents.conformance.adapters import Advance
from plasticrl.agents.conformance.streams import (
    CONTINUOUS,
    DISCRETE,
    N_STEPS,
    STREAMS,
    RecordedVecEnv,
    Stream,
    random_observations,
    starts_at,
)
from plasticrl.agents.conformance.subject import (
    N_ROLLOUTS,
    Rollouts,
    Subject,
    act,
    freeze,
    learn,
    watch_loss,
)
from plasticrl.agents.conformance.verdict import (
    ROUNDING,
    VISIBLE,
    NotTestedError,
    judge,
    largest_difference,
)


def loss_log_probs(subject: Subject) -> str:
    """The loss has the values and log-probabilities that the rollout had."""
    differences = []
    n_seen = n_steps = 0
    for action_space in (CONTINUOUS, DISCRETE):
        model = subject.build(STREAMS, action_space)
        freeze(model)
        in_loss: list[tuple[bytes, float, float]] = []

        def watch(obs: Tensor, values: Tensor, log_probs: Tensor, seen: Any = in_loss) -> None:
            seen += zip(_keys(obs), values.tolist(), log_probs.tolist(), strict=True)

        watch_loss(model, subject.adapter.loss_method, watch)
        rollouts = learn(model, N_ROLLOUTS)
        pairs = zip(rollouts.values.flat, rollouts.log_probs.flat, strict=True)
        acted = dict(zip(_keys(rollouts.observations), pairs, strict=True))
        # A row whose observation was never shown is padding.
        differences += [
            largest_difference(acted[key], pair) for key, *pair in in_loss if key in acted
        ]
        n_steps += len(acted)
        n_seen += len(acted.keys() & {key for key, *_ in in_loss})
    if not n_seen:
        raise NotTestedError(f"train does not call policy.{subject.adapter.loss_method}")
    return judge(
        max(differences) <= ROUNDING,
        "values and log-probabilities of the loss differed from those of the rollout by at "
        f"most {max(differences):.1e}; the loss saw {n_seen} of {n_steps} steps",
    )


def bptt_length(subject: Subject) -> str:
    """The gradient of the loss is that of truncated BPTT with ``bptt_length``."""
    model = subject.build(STREAMS)
    if not hasattr(model, "bptt_length"):
        raise NotTestedError(f"{type(model).__name__} has no attribute bptt_length")
    advance = subject.adapter.advance
    if advance is None:
        raise NotTestedError("the adapter has no function advance to replay the steps with")
    freeze(model)
    gradients: list[Tensor] = []
    n_seen: Counter[bytes] = Counter()

    def watch(obs: Tensor, values: Tensor, log_probs: Tensor) -> None:
        n_seen.update(_keys(obs))
        gradients.append(_gradient(model, _mix(obs, values, log_probs)))

    watch_loss(model, subject.adapter.loss_method, watch)
    rollouts = learn(model, N_ROLLOUTS)
    times = {n_seen[key] for key in _keys(rollouts.observations)}
    if len(times) > 1 or times == {0}:
        name = subject.adapter.loss_method
        raise NotTestedError(f"train does not give each step to policy.{name} equally often")
    gradient = torch.stack(gradients).sum(dim=0) / times.pop()

    expected = model.bptt_length or subject.n_steps
    lengths = {1, expected - 1, expected, expected + 1, subject.n_steps}
    lengths -= {0, subject.n_steps + 1}
    replays = {
        length: _replayed_gradient(model, advance, rollouts, length) for length in sorted(lengths)
    }
    errors = {length: _relative(gradient, replay) for length, replay in replays.items()}
    visible = [n for n in replays if _relative(replays[n], replays[expected]) > VISIBLE]
    if not visible:
        raise NotTestedError("the gradient does not depend on bptt_length")
    nearest = min(visible, key=lambda length: errors[length])
    return judge(
        errors[expected] <= ROUNDING,
        f"the gradient differed from that of a sequential replay with bptt_length {expected} "
        f"by {errors[expected]:.1e} of its norm, with bptt_length {nearest} by "
        f"{errors[nearest]:.1e}",
    )


def save_and_resume(subject: Subject) -> str:
    """A loaded model acts and learns bit for bit as the saved one, and n_envs may differ."""
    model = subject.build(STREAMS)
    before = _weights(model)
    learn(model, 2)
    if torch.equal(before, _weights(model)):
        raise NotTestedError("two rollouts of training did not change any weight")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.zip"
        model.save(path)
        loaded = type(model).load(path, device=model.device)
        single = type(model).load(
            path, env=RecordedVecEnv(STREAMS[:1], CONTINUOUS), device=model.device
        )
    obs, starts = random_observations(4, shape=(N_STEPS, 3)), starts_at(0, 5, row=1)
    acts_alike = np.array_equal(act(model, obs, starts), act(loaded, obs, starts))
    learn(single, 1)
    for each in (model, loaded):
        each.set_env(RecordedVecEnv(STREAMS, CONTINUOUS))
        set_random_seed(1)
        learn(each, 2)
    difference = largest_difference(_weights(model), _weights(loaded))
    return judge(
        acts_alike and difference == 0,
        f"the loaded model took {'the same' if acts_alike else 'other'} actions; after two more "
        f"rollouts of both, the weights differed by at most {difference:.1e}; a model loaded with "
        "one environment learned too",
    )


def evaluation(subject: Subject) -> str:
    """An evaluation in the middle of a rollout does not affect the training."""
    without, watched = subject.build(STREAMS), subject.build(STREAMS)
    before = _weights(without)
    set_random_seed(0)
    learn(without, N_ROLLOUTS)
    if torch.equal(before, _weights(without)):
        raise NotTestedError(f"{N_ROLLOUTS} rollouts of training did not change any weight")
    set_random_seed(0)
    learn(watched, N_ROLLOUTS, callback=_Evaluate())
    difference = largest_difference(_weights(without), _weights(watched))
    return judge(
        difference == 0,
        "with an evaluation in two other environments at every third step, the weights differed "
        f"from those without by at most {difference:.1e}",
    )


class _Evaluate(BaseCallback):
    """Evaluates the policy at every third step."""

    def _on_step(self) -> bool:
        if self.n_calls % 3 == 0:
            env = RecordedVecEnv((Stream(20, 4), Stream(21, 2)), CONTINUOUS)
            evaluate_policy(self.model, env, n_eval_episodes=3, warn=False)
        return True


def _keys(observations: Any) -> list[bytes]:
    """A key that identifies each observation of the arrays (..., 4)."""
    rows = torch.as_tensor(observations).float().cpu().numpy().reshape(-1, 4)
    return [row.tobytes() for row in rows]


def _weights(model: Any) -> Tensor:
    """All weights of the policy in one vector."""
    return torch.cat([weight.detach().flatten() for weight in model.policy.parameters()]).cpu()


def _mix(obs: Tensor, values: Tensor, log_probs: Tensor) -> Tensor:
    """A sum of values and log-probabilities, weighted by observations, which are 0 in padding."""
    return (obs[:, 0] * values + obs[:, 1] * log_probs).sum()


def _gradient(model: Any, loss: Tensor) -> Tensor:
    """The gradient of the loss with respect to all weights of the policy, in one vector."""
    weights = [weight for weight in model.policy.parameters() if weight.requires_grad]
    parts = torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True)
    return torch.cat([part.flatten() for part in parts])


def _replayed_gradient(
    model: Any, advance: Callable[..., Advance], rollouts: Rollouts, length: int
) -> Tensor:
    """The gradient, with the state detached every ``length`` steps of a rollout."""
    state, loss = None, torch.zeros(())
    for step in range(len(rollouts.observations)):
        if step % model.n_steps % length == 0:
            state = _detached(state)
        obs, actions, starts = (
            torch.as_tensor(array[step], device=model.device)
            for array in (rollouts.observations, rollouts.actions, rollouts.episode_starts)
        )
        values, log_probs, state = advance(model.policy, obs, actions, state, starts)
        loss = loss + _mix(obs, values, log_probs)
    return _gradient(model, loss)


def _relative(left: Tensor, right: Tensor) -> float:
    return float((left - right).norm() / right.norm())


def _detached(state: Any) -> Any:
    """Detach all tensors of a state, which may be nested in tuples."""
    if isinstance(state, Tensor):
        return state.detach()
    if isinstance(state, tuple):
        parts = [_detached(part) for part in state]
        return type(state)(*parts) if hasattr(state, "_fields") else tuple(parts)
    return state
