"""The steps of a rollout: the policy acts, the environments answer.

``HostRollout`` steps any ``VecEnv``, one step at a time. ``DeviceRollout`` takes all steps on the
device before it tells of the first one, so that nothing there waits for the host: net and
environments are one CUDA graph, replayed for every step. Both give the same steps.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from stable_baselines3.common.utils import obs_as_tensor
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from plasticrl.agents.acting import DIVERGED, Actor, chooses_by_logits
from plasticrl.agents.vec_env import BatchVecEnv
from plasticrl.core import stepper
from plasticrl.envs.arrays import to_host


class Step(NamedTuple):
    """One step of all environments, B rows each, on the host."""

    obs: Any
    """What was seen before the step."""
    episode_starts: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    dones: np.ndarray
    infos: list[dict[str, Any]]


class HostRollout:
    """Iterating takes the steps.

    Args:
        policy: the one that acts.
        env: any ``VecEnv``.
        state: the core's state before the first step, changed in place.
        obs: what the environments show before the first step.
        episode_starts: (B,), true where that is an episode's first.
        n_steps: how many steps to take.

    Attributes:
        obs, episode_starts: of the step to come.
        outputs: the core's outputs so far, each (B, N).
        modulating: what its neuromodulator has read so far, each (B, N); nothing without one.
    """

    def __init__(
        self,
        policy: Any,
        env: VecEnv,
        state: Any,
        obs: Any,
        episode_starts: np.ndarray,
        n_steps: int,
    ) -> None:
        self.policy, self.env, self.state = policy, env, state
        self.obs, self.episode_starts, self.n_steps = obs, episode_starts, n_steps
        self.outputs: list[Tensor] = []
        self.modulating: list[Tensor] = []

    def __iter__(self) -> Iterator[Step]:
        policy, state = self.policy, self.state
        device = policy.device
        act = Actor(policy, state, self.n_steps)
        activity = policy.core.modulating_activity(state)  # moves in place, as the state
        for _ in range(self.n_steps):
            obs, starts = self.obs, self.episode_starts
            tensor, output = act(obs_as_tensor(obs, device), torch.as_tensor(starts, device=device))
            self.outputs.append(output)
            if activity is not None:
                self.modulating.append(output if activity is state.hidden else activity.clone())
            actions = tensor.cpu().numpy()
            step = self.env.step(policy.clip(actions))
            self.obs, rewards, self.episode_starts, infos = step
            yield Step(obs, starts, actions, rewards, self.episode_starts, infos)


class DeviceRollout(HostRollout):
    """For environments that live on the policy's device; arguments and attributes as above."""

    env: BatchVecEnv

    @staticmethod
    def possible(policy: Any, env: VecEnv) -> bool:
        """Whether ``env`` is a native batch on a device, and the policy chooses by logits."""
        on_device = isinstance(env, BatchVecEnv) and env.batch.device is not None
        return on_device and chooses_by_logits(policy)

    def __iter__(self) -> Iterator[Step]:
        tape = _Tape(self)
        tape.run()
        self.outputs = list(tape.records["outputs"])
        self.modulating = list(tape.records.get("modulating", ()))
        if not tape.records["outputs"].isfinite().all():
            raise FloatingPointError(DIVERGED)
        self.obs, self.episode_starts = to_host(tape.obs), to_host(tape.starts)
        told = {name: to_host(tape.records[name]) for name in TOLD}
        final = {name: to_host(array) for name, array in tape.final_info.items()}
        for t in range(self.n_steps):
            obs, starts, actions, rewards, dones = (told[name][t] for name in TOLD)
            final_obs = to_host(tape.records["final_obs"][t]) if dones.any() else None
            final_now = {name: array[t] for name, array in final.items()}
            infos = self.env.monitor(rewards, dones, final_obs, final_now)
            yield Step(obs, starts, actions, rewards.astype(np.float32), dones, infos)


TOLD = ("obs", "episode_starts", "actions", "rewards", "dones")
"""What the host is told of every step."""


class _Tape:
    """Everything that moves in a rollout on the device, in tensors that stay where they are.

    So a step can be captured as a CUDA graph. It is captured anew for every rollout, which costs
    about as much as one step, and so knows of every weight, option and state that has changed.
    """

    def __init__(self, rollout: DeviceRollout) -> None:
        policy, self.batch = rollout.policy, rollout.env.batch
        device, state = policy.device, rollout.state
        self.policy, self.n_steps = policy, rollout.n_steps
        self.advance = stepper(policy.core, state)
        activity = policy.core.modulating_activity(state)
        self.activity = activity  # moves in place, as the state
        self.obs = torch.tensor(rollout.obs, device=device)
        self.starts = torch.tensor(rollout.episode_starts, dtype=torch.bool, device=device)
        self.world: list[Tensor] = [leaf.clone() for leaf in _flat(self.batch.state)]
        self.uniforms = torch.rand(self.n_steps, len(self.starts), device=device)
        self.now = torch.zeros(1, dtype=torch.long, device=device)
        self.records: dict[str, Tensor] = {}
        self.final_info: dict[str, Tensor] = {}

    @torch.no_grad()
    def run(self) -> None:
        """Take all steps; the first one by itself, since it compiles what the graph captures."""
        self._step()
        if self.obs.is_cuda and self.n_steps > 1:
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                self._step()
            take_step = graph.replay
        else:
            take_step = self._step
        for _ in range(self.n_steps - 1):
            take_step()
        self.batch.state = _like(self.batch.state, self.world)

    def _step(self) -> None:
        policy = self.policy
        latent = self.advance(policy.extract_features(self.obs), self.starts)
        # Not through a distribution, which looks at its numbers and so waits for them.
        logits = policy.action_net(policy.mlp_extractor.forward_actor(latent))
        actions = _choose(logits.softmax(dim=1), self.uniforms.index_select(0, self.now)[0])
        world, seen = self.batch.transition(_like(self.batch.state, self.world), actions)
        self._record(self.records, "obs", self.obs)
        self._record(self.records, "episode_starts", self.starts)
        self._record(self.records, "actions", actions)
        self._record(self.records, "rewards", seen.reward)
        self._record(self.records, "dones", seen.truncated)
        self._record(self.records, "final_obs", seen.final_observation)
        self._record(self.records, "outputs", latent)
        if self.activity is not None:
            self._record(self.records, "modulating", self.activity)
        for name, value in seen.final_info.items():
            self._record(self.final_info, name, value)
        self.obs.copy_(seen.observation)
        self.starts.copy_(seen.truncated)
        # One that is another's old place would be written over before it is read.
        moved = [
            leaf.clone() if any(leaf is old for old in self.world) else leaf
            for leaf in _flat(world)
        ]
        for old, new in zip(self.world, moved, strict=True):
            old.copy_(new)
        self.now += 1

    def _record(self, records: dict[str, Tensor], name: str, value: Tensor) -> None:
        if name not in records:
            records[name] = value.new_empty((self.n_steps, *value.shape))
        records[name].index_copy_(0, self.now, value.unsqueeze(0))


def _choose(probs: Tensor, uniform: Tensor) -> Tensor:
    """Actions (B,): where the sum of probabilities (B, A) reaches the uniform numbers (B,)."""
    sums = probs.cumsum(dim=1)
    reached = sums[:, :-1] <= uniform.unsqueeze(1) * sums[:, -1:]
    return reached.sum(dim=1)


def _flat(state: Any) -> list[Tensor]:
    """The tensors of a batch's state."""
    return [leaf for part in state for leaf in part]


def _like(state: Any, flat: list[Tensor]) -> Any:
    """A batch's state again, of these tensors."""
    rest = iter(flat)
    return type(state)(*(type(part)._make(next(rest) for _ in part) for part in state))
