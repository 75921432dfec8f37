"""Rollouts: iterators that step the environments with the policy's actions and yield each step.

``HostRollout`` steps any ``VecEnv``, one step at a time. The other two run environments of this
package, and take all steps before they yield the first. ``CompiledRollout`` takes them on the CPU,
in one compiled call. ``DeviceRollout`` captures one step of policy and environments as a CUDA
graph, and replays the graph for the other steps, so that the GPU never waits for the CPU.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

import numpy as np
import torch
from stable_baselines3.common.utils import obs_as_tensor
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from plasticrl.agents.acting import ActingPolicy, Actor, compiled_heads
from plasticrl.agents.closed_loop import ActingLoop, Records, compiled_loop
from plasticrl.agents.divergence import describe_activity
from plasticrl.agents.failures import environment_errors, raise_environment_error
from plasticrl.agents.masking import get_masks, has_masks
from plasticrl.agents.vec_env import BatchVecEnv
from plasticrl.core import stepper
from plasticrl.core.backends import can_close_loop
from plasticrl.core.stock import is_untouched, replaces_methods
from plasticrl.core.unroll import Stepper
from plasticrl.envs.arrays import to_host
from plasticrl.envs.compiled import can_compile, compiled
from plasticrl.runs import DivergedError


class Step(NamedTuple):
    """One step of all B environments, as NumPy arrays."""

    obs: Any
    """The observations before the step, (B, ...) or a dict of such arrays."""
    episode_starts: np.ndarray
    """(B,), true where ``obs`` is the first of an episode."""
    actions: np.ndarray
    """(B, ...), as sampled from the policy, not clipped."""
    new_obs: Any
    """The observations after the step; where ``dones`` is true, the first of the next episode."""
    rewards: np.ndarray
    """(B,) float32."""
    dones: np.ndarray
    """(B,), true where the step ended an episode."""
    infos: Any
    """One for each environment."""


class HostRollout:
    """An iterator that steps the environments once for each ``Step`` that it yields.

    It raises ``DivergedError`` if the core's outputs are not finite.

    Args:
        state: the core's state before the first step. It is updated in place.
        obs: the observations before the first step.
        episode_starts: (B,), true where ``obs`` is the first of an episode.
        n_steps: the number of steps, T.
        n_recorded: the number of steps that the stepper records, so that ``stepper.replay`` can
            repeat them; a ``DeviceRollout`` records none.

    Attributes:
        obs, episode_starts: the inputs of the next step.
        stepper: the object that ran the core; None in a ``DeviceRollout``.
        outputs: the core's outputs (T, B, N).
        modulating_activities: for each of the actor's plastic cells, the activity (T, B, N) that
            its neuromodulator read; None for a cell without a neuromodulator.
        masks: the action masks (T B, A); None if the environments have none.

    The last four attributes are set after the last step.
    """

    outputs: Tensor
    modulating_activities: Sequence[Tensor | None] = ()
    stepper: Stepper[Any] | None = None
    masks: Tensor | None = None

    def __init__(
        self,
        policy: ActingPolicy,
        env: VecEnv,
        state: Any,
        obs: Any,
        episode_starts: np.ndarray,
        n_steps: int,
        n_recorded: int = 0,
    ) -> None:
        self.policy, self.env, self.state = policy, env, state
        self.obs, self.episode_starts = obs, episode_starts
        self.n_steps, self.n_recorded = n_steps, n_recorded

    def __iter__(self) -> Iterator[Step]:
        policy, state = self.policy, self.state
        device = policy.device
        act = Actor(policy, state, self.n_steps, self.n_recorded)
        activities = _modulating_activities(policy, state)
        copies: list[list[Tensor]] = [[] for _ in activities]
        outputs, masks = [], []
        are_masked = has_masks(self.env)
        mask: Tensor | None = None
        for _ in range(self.n_steps):
            obs, starts = self.obs, self.episode_starts
            if are_masked:
                with environment_errors(self.env):
                    mask = _to_device(get_masks(self.env), device)
                masks.append(mask)
            actions, output = act(_to_device(obs, device), _to_device(starts, device), False, mask)
            outputs.append(output)
            for steps, activity in zip(copies, activities, strict=True):
                if activity is not None:
                    steps.append(activity.clone())
            try:
                self.obs, rewards, dones, infos = self.env.step(policy.clip(actions))
            except (Exception, SystemExit) as error:
                raise_environment_error(self.env, error)
            self.episode_starts = dones
            yield Step(obs, starts, actions, self.obs, rewards, dones, infos)
        self.outputs, self.stepper = torch.stack(outputs), act.stepper
        self.masks = torch.cat(masks) if are_masked else None
        self.modulating_activities = [torch.stack(steps) if steps else None for steps in copies]


def _modulating_activities(policy: ActingPolicy, state: Any) -> list[Tensor | None]:
    """Return, for each of the actor's plastic cells, the activity (B, N) its neuromodulator reads.

    It is a part of ``state``, which each step overwrites. A cell without a neuromodulator has None.
    """
    return [cell.modulating_activity(part) for cell, part in policy.actor_cells(state)]


def _to_device(array: Any, device: torch.device) -> Any:
    """Do what SB3's ``obs_as_tensor`` does, but faster for an array that stays on the CPU."""
    if isinstance(array, np.ndarray) and device.type == "cpu":
        return torch.from_numpy(array)
    return obs_as_tensor(array, device)


def acts_in_rollouts(callback: Any) -> bool:
    """Whether a callback, or one within it, has an attribute ``acts_in_rollouts`` that is true.

    Such a callback may change the environments or stop the training after any step, so it must be
    called before the next step is taken.
    """
    if getattr(callback, "acts_in_rollouts", False):
        return True
    names = ("callback", "callback_on_new_best")  # attributes of SB3's that hold callbacks
    within = [*getattr(callback, "callbacks", ()), *(getattr(callback, n, None) for n in names)]
    return any(acts_in_rollouts(part) for part in within if part is not None)


class BatchRollout(HostRollout):
    """A rollout of a ``BatchEnv`` that takes all steps before it yields the first."""

    env: BatchVecEnv
    taken: Step
    """All steps: arrays (T, B, ...), and for each step a list of infos. It is set before the first
    step is yielded."""

    def _yield_all(self) -> Iterator[Step]:
        return map(Step._make, zip(*self.taken, strict=True))

    def _infos(
        self,
        rewards: np.ndarray,
        dones: np.ndarray,
        terminated: np.ndarray,
        final_obs: Any,
        final_info: dict[str, np.ndarray],
    ) -> list[list[dict[str, Any]]]:
        """Return, for every step, a list with the info of each environment.

        It has all steps, even if a callback ends the rollout earlier, because the environments have
        already taken them.

        Args:
            rewards, dones, terminated: (T, B).
            final_obs: (T, B, ...), the observations at the ends of episodes.
            final_info: name -> (T, B), the info at the ends of episodes.
        """
        infos = []
        for t, (reward, done) in enumerate(zip(rewards, dones, strict=True)):
            last = to_host(final_obs[t]) if done.any() else None
            info = {name: array[t] for name, array in final_info.items()}
            infos.append(self.env.monitor(reward, done, terminated[t], last, info))
        return infos


class CompiledRollout(BatchRollout):
    """A rollout on the CPU, in which one compiled call takes all steps.

    It draws the same random numbers as a ``HostRollout``. Its results differ only by rounding,
    because it adds up the inputs of a neuron in another order.
    """

    @staticmethod
    def possible(policy: ActingPolicy, env: VecEnv) -> bool:
        """Whether a compiled call can take the steps of ``policy`` in ``env``.

        The environments must be a ``BatchEnv`` of this package with NumPy arrays and without action
        masks. The features extractor must pass the observations to the core unchanged. The core and
        the layers of the action head must have compiled implementations.
        """
        return (
            type(env) is BatchVecEnv
            and not replaces_methods(env)
            and not has_masks(env)
            and can_compile(env.batch)
            and not replaces_methods(env.batch)
            and policy.features_are_observations
            and can_close_loop(policy.backend, policy.core)
            and bool(compiled_heads(policy))
        )

    def __iter__(self) -> Iterator[Step]:
        policy, batch, heads = self.policy, self.env.batch, compiled_heads(self.policy)
        environments = compiled(batch)
        n_steps, (n_rows, n_features) = self.n_steps, self.obs.shape
        observations = np.empty((n_steps + 1, n_rows, n_features), np.float32)
        starts = np.empty((n_steps + 1, n_rows), bool)
        observations[0], starts[0] = self.obs, self.episode_starts
        records = Records.allocate(n_steps, n_rows, n_features, environments.n_infos)
        core_stepper = stepper(policy.core, self.state, policy.backend, self.n_recorded)
        common: dict[str, Any] = {
            "inputs": observations,
            "starts": starts,
            "environments": environments,
            "records": records,
            "uniforms": policy.uniforms(n_steps, n_rows).numpy(),
            "scratch": heads[0].scratch(n_rows),
            "all_possible": np.empty(0, bool),
        }
        outputs, activity = core_stepper.run_closed_loop(
            compiled_loop,
            lambda index, projection: ActingLoop(projection, heads=heads[index], **common),
            n_steps,
        )
        failed = np.flatnonzero(~records.is_finite.all(axis=1))
        if len(failed):
            raise DivergedError(
                describe_activity(policy, torch.from_numpy(observations[failed[0]]))
            )
        batch.state = batch.state.like(environments.leaves())
        self.outputs, self.stepper = outputs, core_stepper
        self.modulating_activities = [activity]
        self.obs, self.episode_starts = observations[-1], starts[-1]
        info = {
            name: records.final_infos[..., number]
            for number, name in enumerate(batch.episode_info(batch.state.world))
        }
        infos = self._infos(
            records.rewards, starts[1:], records.terminated, records.final_observations, info
        )
        self.taken = Step(
            *(observations[:-1], starts[:-1], records.actions, observations[1:]),
            *(records.rewards.astype(np.float32), starts[1:], infos),
        )
        yield from self._yield_all()


class DeviceRollout(BatchRollout):
    """A rollout whose environments are a ``BatchEnv`` with tensors on the policy's device."""

    @staticmethod
    def possible(policy: ActingPolicy, env: VecEnv) -> bool:
        """Whether ``policy`` and ``env`` can take steps together on the policy's device.

        The environments must be a ``BatchEnv`` of this package on that device, and the action
        distribution must be categorical, without masks. The policy must have no hooks, because a
        CUDA graph does not call them.
        """
        if not isinstance(env, BatchVecEnv) or env.batch.device is None or has_masks(env):
            return False
        on_device = env.batch.state.rows.key.device == policy.device
        return (
            on_device
            and policy.samples_by_logits
            and all(
                map(
                    is_untouched,
                    (
                        policy.core,
                        *policy.features_extractors,
                        policy.action_net,
                        policy.mlp_extractor,
                    ),
                )
            )
        )

    def __iter__(self) -> Iterator[Step]:
        loop = _DeviceLoop(self)
        loop.run()
        if not loop.finite.item():
            raise DivergedError(
                describe_activity(self.policy, loop.first_non_finite_observations())
            )
        self.outputs = loop.records["outputs"]
        self.modulating_activities = loop.modulating_activities
        self.obs, self.episode_starts = to_host(loop.obs), to_host(loop.starts)
        obs, starts, actions, rewards, dones = (
            to_host(loop.records[name]) for name in ("obs", "starts", "actions", "rewards", "dones")
        )
        terminated = to_host(loop.records["terminated"])
        final_info = {name: to_host(array) for name, array in loop.final_info.items()}
        final_obs = loop.records["final_obs"]
        infos = self._infos(rewards, dones, terminated, final_obs, final_info)
        new_obs = np.concatenate((obs[1:], self.obs[None]))
        rewards = rewards.astype(np.float32)
        self.taken = Step(obs, starts, actions, new_obs, rewards, dones, infos)
        yield from self._yield_all()


class _DeviceLoop:
    """The loop over a rollout's steps, with all its variables in tensors on the device.

    A CUDA graph reads and writes fixed addresses, so each step copies its results into these
    tensors. Each rollout captures a new graph, because weights, options and states change between
    rollouts.
    """

    def __init__(self, rollout: DeviceRollout) -> None:
        policy, self.batch = rollout.policy, rollout.env.batch
        device, self.state = policy.device, rollout.state
        self.policy, self.n_steps = policy, rollout.n_steps
        self.core_stepper = stepper(policy.core, self.state, policy.backend)
        self.activities = _modulating_activities(policy, self.state)
        self.obs = torch.tensor(rollout.obs, device=device)
        self.starts = torch.tensor(rollout.episode_starts, dtype=torch.bool, device=device)
        self.env_state: list[Tensor] = [leaf.clone() for leaf in self.batch.state.leaves()]
        self.uniforms = policy.uniforms(self.n_steps, len(self.starts))
        self.step_index = torch.zeros(1, dtype=torch.long, device=device)
        self.finite = torch.ones((), dtype=torch.bool, device=device)
        self.records: dict[str, Tensor] = {}
        self.final_info: dict[str, Tensor] = {}

    @torch.no_grad()
    def run(self) -> None:
        """Take all steps. The first one runs without the graph, because it compiles kernels."""
        device = self.obs.device
        with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
            self.step()
            captures = device.type == "cuda" and self.n_steps > 1
            step = self._captured() if captures else self.step
            for _ in range(self.n_steps - 1):
                step()
        self.batch.state = self.batch.state.like(self.env_state)

    def _captured(self) -> Callable[[], None]:
        """Capture the step as a CUDA graph, on a separate stream, and return the graph's replay."""
        graph = torch.cuda.CUDAGraph()
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            graph.capture_begin()
            self.step()
            graph.capture_end()
        torch.cuda.current_stream().wait_stream(stream)
        replay: Callable[[], None] = graph.replay
        return replay

    def step(self) -> None:
        """Take one step of policy and environments without waiting for the device."""
        policy = self.policy
        latent = self.core_stepper(policy.core_inputs(self.obs), self.starts)
        # A torch distribution would validate its arguments, for which the CPU waits for the device.
        logits = policy.action_net(policy.mlp_extractor.forward_actor(latent))
        self.finite &= logits.isfinite().all() & latent.isfinite().all()
        uniform = self.uniforms.index_select(0, self.step_index)[0]
        actions = _sample_categorical(logits.softmax(dim=1), uniform)
        new_state, result = self.batch.transition(self.batch.state.like(self.env_state), actions)
        values = {
            "obs": self.obs,
            "starts": self.starts,
            "actions": actions,
            "rewards": result.reward,
            "dones": result.done,
            "terminated": result.terminated,
            "final_obs": result.final_observation,
            "outputs": latent,
        }
        for index, activity in enumerate(self.activities):
            if activity is not None:
                values[f"modulating activity {index}"] = activity
        self._record(self.records, values)
        self._record(self.final_info, result.final_info)
        self.obs.copy_(result.observation)
        self.starts.copy_(result.done)
        self._overwrite_env_state(new_state.leaves())
        self.step_index += 1

    def first_non_finite_observations(self) -> Tensor:
        """Return the observations (B, ...) of the first step at which one is not finite.

        If all are finite, return those of the last step.
        """
        obs = self.records["obs"]
        steps = (~obs.isfinite()).flatten(1).any(dim=1).nonzero()
        first: Tensor = obs[int(steps[0]) if len(steps) else -1]
        return first

    @property
    def modulating_activities(self) -> list[Tensor | None]:
        """As in ``HostRollout``."""
        names = [f"modulating activity {index}" for index in range(len(self.activities))]
        return [self.records.get(name) for name in names]

    def _record(self, records: dict[str, Tensor], values: dict[str, Tensor]) -> None:
        """Copy each value (B, ...) into its record (T, B, ...) at the current step."""
        for name, value in values.items():
            if name not in records:
                records[name] = value.new_empty((self.n_steps, *value.shape))
            records[name].index_copy_(0, self.step_index, value.unsqueeze(0))

    def _overwrite_env_state(self, leaves: list[Tensor]) -> None:
        """Copy the new state of the environments over the old one."""
        old_leaves = self.env_state
        changed = [
            (old, new) for old, new in zip(old_leaves, leaves, strict=True) if old is not new
        ]
        # A new leaf may be another leaf's old tensor; clone it before that tensor is overwritten.
        safe = [new.clone() if any(new is old for old in old_leaves) else new for _, new in changed]
        for (old, _), new in zip(changed, safe, strict=True):
            old.copy_(new)


def _sample_categorical(probs: Tensor, uniform: Tensor) -> Tensor:
    """Draw actions (B,) from probabilities (B, A) and uniform numbers (B,) from [0, 1).

    The action is the first whose cumulative probability exceeds the uniform number.
    """
    sums = probs.cumsum(dim=1)
    reached = sums[:, :-1] <= uniform.unsqueeze(1) * sums[:, -1:]
    return reached.sum(dim=1)
