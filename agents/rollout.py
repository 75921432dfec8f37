"""The steps of a rollout: the policy acts, the environments answer.

``HostRollout`` steps any ``VecEnv``, one step at a time. ``DeviceRollout`` takes all steps on the
device before it tells of the first one, so that nothing there waits for the host: net and
environments are one CUDA graph, replayed for every step. Both give the same steps.
"""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any, NamedTuple

import numpy as np
import torch
from stable_baselines3.common.utils import obs_as_tensor
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from plasticrl.agents.acting import DIVERGED, Actor, chooses_by_logits
from plasticrl.agents.vec_env import BatchVecEnv
from plasticrl.core import stepper
from plasticrl.core.unroll import Stepper
from plasticrl.envs.arrays import to_host


class Step(NamedTuple):
    """One step of all B environments, on the host."""

    obs: Any
    """What was seen before the step, (B, ...) or a dict of such."""
    episode_starts: np.ndarray
    """(B,), true where that was an episode's first."""
    actions: np.ndarray
    """(B, ...), as the policy chose them, not clipped."""
    new_obs: Any
    """What is seen after the step."""
    rewards: np.ndarray
    """(B,) float32."""
    dones: np.ndarray
    """(B,), true where the step ended an episode."""
    infos: list[dict[str, Any]]
    """One for each environment."""


class HostRollout:
    """Iterating takes the steps, and raises ``FloatingPointError`` if the policy has diverged.

    Args:
        policy: the one that acts.
        env: any ``VecEnv``.
        state: the core's state before the first step, changed in place.
        obs: what the environments show before the first step.
        episode_starts: (B,), true where that is an episode's first.
        n_steps: how many steps to take.
        n_remembered: how many of them the core is to remember for the loss, where it can.

    Attributes:
        obs, episode_starts: where the environments are.
        stepped: what the core remembers, for ``sequence``; None on the device.
        outputs: after the last step, the core's outputs (T, B, N).
        modulating: after the last step, what its neuromodulator read (T, B, N); None without one.
    """

    outputs: Tensor
    modulating: Tensor | None = None
    stepped: Stepper | None = None

    def __init__(
        self,
        policy: Any,
        env: VecEnv,
        state: Any,
        obs: Any,
        episode_starts: np.ndarray,
        n_steps: int,
        n_remembered: int = 0,
    ) -> None:
        self.policy, self.env, self.state = policy, env, state
        self.obs, self.episode_starts = obs, episode_starts
        self.n_steps, self.n_remembered = n_steps, n_remembered

    def __iter__(self) -> Iterator[Step]:
        policy, state = self.policy, self.state
        device = policy.device
        act = Actor(policy, state, self.n_steps, self.n_remembered)
        activity = policy.core.modulating_activity(state)  # moves in place, as the state
        outputs, modulating = [], []
        for _ in range(self.n_steps):
            obs, starts = self.obs, self.episode_starts
            actions, output = act(_to_device(obs, device), _to_device(starts, device))
            outputs.append(output)
            if activity is not None and activity is not state.hidden:
                modulating.append(activity.clone())
            self.obs, rewards, dones, infos = self.env.step(policy.clip(actions))
            self.episode_starts = dones
            yield Step(obs, starts, actions, self.obs, rewards, dones, infos)
        self.outputs, self.stepped = torch.stack(outputs), act.advance
        if activity is not None:
            self.modulating = torch.stack(modulating) if modulating else self.outputs


def _to_device(array: Any, device: torch.device) -> Any:
    """As SB3's, with less ado for an array that stays on the CPU: this is done in every step."""
    if isinstance(array, np.ndarray) and device.type == "cpu":
        return torch.from_numpy(array)
    return obs_as_tensor(array, device)


class DeviceRollout(HostRollout):
    """For a native batch on the policy's device; arguments and attributes as above."""

    env: BatchVecEnv

    @staticmethod
    def possible(policy: Any, env: VecEnv) -> bool:
        """Whether ``env`` is a native batch on the policy's device, which chooses by logits."""
        if not isinstance(env, BatchVecEnv) or env.batch.device is None:
            return False
        return env.batch.state.rows.key.device == policy.device and chooses_by_logits(policy)

    def __iter__(self) -> Iterator[Step]:
        tape = _Tape(self)
        tape.run()
        if not tape.finite.item():
            raise FloatingPointError(DIVERGED)
        self.outputs, self.modulating = tape.records["outputs"], tape.modulating()
        self.obs, self.episode_starts = to_host(tape.obs), to_host(tape.starts)
        obs, starts, actions, rewards, dones = (
            to_host(tape.records[name]) for name in ("obs", "starts", "actions", "rewards", "dones")
        )
        infos = self._infos(tape, rewards, dones, to_host(tape.records["terminated"]))
        new_obs = [*obs[1:], self.obs]
        rewards = rewards.astype(np.float32)
        yield from map(Step, obs, starts, actions, new_obs, rewards, dones, infos)

    def _infos(
        self, tape: "_Tape", rewards: np.ndarray, dones: np.ndarray, terminated: np.ndarray
    ) -> list[list[dict[str, Any]]]:
        """Of all steps: the environments have taken them all, whoever stops listening."""
        told = {name: to_host(array) for name, array in tape.final_info.items()}
        infos = []
        for t, (reward, done) in enumerate(zip(rewards, dones, strict=True)):
            final_obs = to_host(tape.records["final_obs"][t]) if done.any() else None
            final_info = {name: array[t] for name, array in told.items()}
            infos.append(self.env.monitor(reward, done, terminated[t], final_obs, final_info))
        return infos


class _Tape:
    """Everything that moves in a rollout on the device, in tensors that stay where they are.

    So a step can be captured as a CUDA graph. It is captured anew for every rollout, and so knows
    of every weight, option and state that has changed.
    """

    def __init__(self, rollout: DeviceRollout) -> None:
        policy, self.batch = rollout.policy, rollout.env.batch
        device, self.state = policy.device, rollout.state
        self.policy, self.n_steps = policy, rollout.n_steps
        self.advance = stepper(policy.core, self.state)
        self.activity = policy.core.modulating_activity(self.state)  # moves in place, as the state
        self.obs = torch.tensor(rollout.obs, device=device)
        self.starts = torch.tensor(rollout.episode_starts, dtype=torch.bool, device=device)
        self.world: list[Tensor] = [leaf.clone() for leaf in self.batch.state.leaves()]
        self.uniforms = torch.rand(self.n_steps, len(self.starts), device=device)
        self.now = torch.zeros(1, dtype=torch.long, device=device)
        self.finite = torch.ones((), dtype=torch.bool, device=device)
        self.records: dict[str, Tensor] = {}
        self.final_info: dict[str, Tensor] = {}

    @torch.no_grad()
    def run(self) -> None:
        """Take all steps; the first one by itself, since it compiles what the graph captures."""
        device = self.obs.device
        with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
            self.step()
            again = self._captured() if device.type == "cuda" and self.n_steps > 1 else self.step
            for _ in range(self.n_steps - 1):
                again()
        self.batch.state = self.batch.state.like(self.world)

    def _captured(self) -> Callable[[], None]:
        """The step as a CUDA graph, which is captured on a stream of its own and not run yet."""
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
        """One step of net and environments; nothing in it waits for the device."""
        policy = self.policy
        latent = self.advance(policy.extract_features(self.obs), self.starts)
        # Not through a distribution, which looks at its numbers and so waits for them.
        logits = policy.action_net(policy.mlp_extractor.forward_actor(latent))
        self.finite &= logits.isfinite().all() & latent.isfinite().all()
        actions = _choose(logits.softmax(dim=1), self.uniforms.index_select(0, self.now)[0])
        world, seen = self.batch.transition(self.batch.state.like(self.world), actions)
        moved = {
            "obs": self.obs,
            "starts": self.starts,
            "actions": actions,
            "rewards": seen.reward,
            "dones": seen.done,
            "terminated": seen.terminated,
            "final_obs": seen.final_observation,
            "outputs": latent,
        }
        if self.activity is not None and self.activity is not self.state.hidden:
            moved["modulating"] = self.activity
        self._record(self.records, moved)
        self._record(self.final_info, seen.final_info)
        self.obs.copy_(seen.observation)
        self.starts.copy_(seen.done)
        self._move(world.leaves())
        self.now += 1

    def modulating(self) -> Tensor | None:
        """What the neuromodulator read, (T, B, N); None without one."""
        if self.activity is None:
            return None
        return self.records.get("modulating", self.records["outputs"])

    def _record(self, records: dict[str, Tensor], values: dict[str, Tensor]) -> None:
        for name, value in values.items():
            if name not in records:
                records[name] = value.new_empty((self.n_steps, *value.shape))
            records[name].index_copy_(0, self.now, value.unsqueeze(0))

    def _move(self, leaves: list[Tensor]) -> None:
        """Write the new state over the old one."""
        changed = [
            (old, new) for old, new in zip(self.world, leaves, strict=True) if old is not new
        ]
        # What lies in another leaf's old place would be written over before it is read.
        safe = [new.clone() if any(new is old for old in self.world) else new for _, new in changed]
        for (old, _), new in zip(changed, safe, strict=True):
            old.copy_(new)


def _choose(probs: Tensor, uniform: Tensor) -> Tensor:
    """Actions (B,): where the sum of probabilities (B, A) reaches the uniform numbers (B,)."""
    sums = probs.cumsum(dim=1)
    reached = sums[:, :-1] <= uniform.unsqueeze(1) * sums[:, -1:]
    return reached.sum(dim=1)
