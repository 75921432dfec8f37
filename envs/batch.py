"""A batch of environments as arrays, with autoreset, seeding and saving of the state.

A subclass writes these functions of arrays, which know nothing of seeds, masks or autoreset:

    start(world, draws) -> world                      begin a new episode in every row
    advance(world, action, draws) -> world, reward    take one step in every row
    terminal(world) -> bools                          which rows are in a terminal state
    observe(rows, world) -> observation               what the agent of every row observes
    scene(row) -> Scene                               what a viewer shows of one row

``draws`` (n, B) are uniform numbers in [0, 1) and the only source of randomness. This module calls
the functions for all rows and picks rows with ``where``. All but ``scene`` are written against the
array API, so the same lines run on numpy arrays and, with a device, on torch tensors.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import numpy as np
from gymnasium import Space, logger
from gymnasium.error import ResetNeeded
from gymnasium.spaces import Box, Discrete
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from plasticrl.envs import arguments, checks
from plasticrl.envs.arrays import (
    Array,
    Bools,
    Floats,
    Frame,
    HostArray,
    Info,
    Ints,
    Observations,
    StateT,
    any_of,
    namespace,
    select,
    to_host,
)
from plasticrl.envs.counter_random import UniformsAhead, event_places, row_key, uniforms
from plasticrl.envs.drawing import draw_frame, draw_text
from plasticrl.envs.scene import Scene

RENDER_MODES = ("rgb_array", "ansi")
METADATA: dict[str, Any] = {"render_modes": list(RENDER_MODES), "render_fps": 8}

WorldT = TypeVar("WorldT", bound=NamedTuple)


class Rows(NamedTuple):
    """The part of the state that all environments have, each (B,)."""

    key: Ints  # of the row's random numbers, changed by seeding only
    counter: Ints  # resets and steps since the key was set
    steps: Ints  # since the episode's start
    previous_action: Ints  # n_actions before the first action
    previous_reward: Floats
    done: Bools  # the episode is over and the row waits for its reset


class State(NamedTuple, Generic[WorldT]):
    """The whole state of a batch."""

    rows: Rows
    world: WorldT

    def leaves(self) -> list[Array]:
        """Return all arrays in a fixed order."""
        return [*self.rows, *self.world]

    def like(self, leaves: Sequence[Array]) -> "State[WorldT]":
        """Return a state with other arrays, given in the order of ``leaves``."""
        n_rows = len(self.rows)
        return State(Rows._make(leaves[:n_rows]), type(self.world)._make(leaves[n_rows:]))


class Transition(NamedTuple):
    """The result of one step of a batch, each with B rows."""

    observation: Observations  # (B, features) what to act on next, after a same-step autoreset
    reward: Floats  # (B,)
    terminated: Bools  # (B,) the episode ended in a terminal state
    truncated: Bools  # (B,) the episode reached its time limit; both may be true
    done: Bools  # (B,) either
    final_observation: Observations  # (B, features) before a same-step autoreset
    final_info: dict[str, Array]  # ``episode_info`` before a same-step autoreset; name -> (B,)


class BatchEnv(VectorEnv[Observations, Ints, Array], Generic[WorldT]):
    """Many rows of one environment, stepped together.

    Row k of a batch reset with seed s equals the single environment reset with seed s + k at every
    later step, bit for bit, on every device.

    Args:
        num_envs: number of rows B, at least 1.
        observation_space, action_space: of one row.
        world: the subclass's part of one row's state before the first reset: numbers, or numpy
            arrays without the axis of the rows.
        episode_length: steps after which an episode is truncated, at least 1. The observed time is
            divided by it.
        max_episode_steps: as in ``gymnasium.make``: a lower number of steps after which an episode
            is truncated; None for none.
        autoreset_mode: as in ``gymnasium.vector.SyncVectorEnv``.
        render_mode: None, "rgb_array" or "ansi".
        device: None for numpy arrays; "cpu", "cuda", "cuda:1" ... for torch tensors on it. A step
            never waits for the device, and ``autoreset_mode`` must be ``SAME_STEP``.

    Raises:
        ValueError: a number out of range, an unknown mode or device, or a device with another
            autoreset mode.
    """

    start_draws: int  # uniform numbers that a new episode needs, in each row
    step_draws: int  # uniform numbers that a step needs
    row_options: ClassVar[tuple[str, ...]] = ()  # reset options, each with ``set_<option>``
    row_attributes: ClassVar[tuple[str, ...]] = ()  # attributes (B, ...)

    def __init__(
        self,
        num_envs: int,
        observation_space: Box,
        action_space: Discrete,
        world: WorldT,
        episode_length: int,
        max_episode_steps: int | None,
        autoreset_mode: str | AutoresetMode,
        render_mode: str | None,
        device: str | None,
    ) -> None:
        self.num_envs = num_envs = arguments.integer("num_envs", num_envs, minimum=1)
        self.single_observation_space: Space[Any] = observation_space
        self.single_action_space: Space[Any] = action_space
        self.observation_space = batch_space(observation_space, num_envs)
        self.action_space = batch_space(action_space, num_envs)
        self.n_actions = int(action_space.n)
        self.autoreset_mode = checks.autoreset_mode(autoreset_mode, device)
        self.metadata = {**METADATA, "autoreset_mode": self.autoreset_mode}
        self.render_mode = arguments.choice("render_mode", render_mode, (None, *RENDER_MODES))
        self.xp = namespace(device)
        self.device = device
        self.episode_length = arguments.integer("episode_length", episode_length, minimum=1)
        if max_episode_steps is not None:
            max_episode_steps = arguments.integer("max_episode_steps", max_episode_steps, minimum=1)
        self.max_episode_steps = max_episode_steps
        self._start_places = self.put(event_places(self.start_draws))
        self._step_places = self.put(event_places(self.step_draws))
        self._next_draws = (
            UniformsAhead(self._step_places, num_envs) if device is None else self._uniforms_now
        )
        self._seeded = np.zeros(num_envs, dtype=np.bool_)
        self._started = False
        self._terminates = type(self).terminal is not BatchEnv.terminal
        self._blank = self._repeated(Rows(0, 0, 0, self.n_actions, 0.0, False))
        self.state = State(self._blank, self._repeated(world))

    @property
    def episode_length(self) -> int:
        """Steps after which an episode is truncated."""
        return self._episode_length

    @episode_length.setter
    def episode_length(self, steps: int) -> None:
        self._episode_length = steps
        # A tensor: for a Python number, a GPU would multiply by the inexact reciprocal.
        self._divisor = self.put(np.array([steps], dtype=np.float64))

    @property
    def time_limit(self) -> int:
        """``max_episode_steps`` if that is below ``episode_length``, which it is otherwise."""
        most = self.max_episode_steps
        return self._episode_length if most is None else min(most, self._episode_length)

    def put(self, array: HostArray) -> Array:
        """Copy a numpy array to this batch's device."""
        return self.xp.asarray(array, device=self.device, copy=True)

    def _repeated(self, row: StateT) -> StateT:
        """Repeat the state of one row in arrays (B, ...)."""
        leaves = (np.repeat(np.asarray(leaf)[None], self.num_envs, axis=0) for leaf in row)
        return type(row)._make(map(self.put, leaves))

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the namespace: a module can be neither copied nor pickled."""
        return {name: value for name, value in vars(self).items() if name != "xp"}

    def __setstate__(self, attributes: dict[str, Any]) -> None:
        """Restore the namespace."""
        vars(self).update(attributes, xp=namespace(attributes["device"]))

    def start(self, world: WorldT, draws: Floats) -> WorldT:
        """Return the world at an episode's start, from the world before it and ``draws`` (n, B)."""
        raise NotImplementedError

    def advance(self, world: WorldT, action: Ints, draws: Floats) -> tuple[WorldT, Floats]:
        """Return the world after ``action`` (B,) and the reward (B,)."""
        raise NotImplementedError

    def terminal(self, world: WorldT) -> Bools:
        """Return which rows (B,) are in a terminal state; without this method, none ever is.

        No world that ``start`` returns is terminal. ``advance`` may be called in a terminal state,
        and its result is then thrown away.
        """
        raise NotImplementedError

    def limits(self) -> dict[str, tuple[int, int]]:
        """Return the least and the largest value of every integer of a world, by name."""
        raise NotImplementedError

    def observe(self, rows: Rows, world: WorldT) -> Observations:
        """Return the observation (B, features) of every row, in a new array."""
        raise NotImplementedError

    def scene(self, row: int) -> Scene:
        """Describe what is to be seen of one row now, for every renderer and viewer."""
        raise NotImplementedError

    def episode_info(self, world: WorldT) -> dict[str, Array]:
        """Return what ``info`` holds at the end of an episode: name -> (B,)."""
        return {}

    def reset(
        self, *, seed: checks.Seeds = None, options: Info | None = None
    ) -> tuple[Observations, Info]:
        """Start new episodes in all rows, or in those of ``options["reset_mask"]``.

        Args:
            seed: None continues the random numbers of every row; an int s seeds row k with s + k; a
                list has an int or None for each row.
            options: {"reset_mask": bool array (B,)}, as SyncVectorEnv takes it, and
                ``row_options`` by name, for the rows that are reset.

        Returns:
            The observations (B, features) of all rows, and an empty info.
        """
        mask = checks.reset_mask(options, self.num_envs, self._started)
        seeds = checks.row_seeds(seed, self.num_envs)
        changes = {n: value for n, value in (options or {}).items() if n != "reset_mask"}
        self.set_row_options(changes, mask)
        self.seed_rows(mask, [None if one is None else seeding.np_random(one)[0] for one in seeds])
        return self.begin(mask), {}

    def set_row_options(self, options: Info, rows: HostArray) -> None:
        """Set ``row_options`` by name for the next episodes of the rows of the mask ``rows`` (B,).

        Raises:
            ValueError: there is no such option, or it cannot have this value.
        """
        checks.reset_options(options, self.row_options)
        for name, value in options.items():
            getattr(self, f"set_{name}")(value, rows)

    def seed_rows(self, mask: HostArray, generators: Sequence[np.random.Generator | None]) -> None:
        """Draw a new key for the rows of ``mask`` that have a generator or have no key yet."""
        rows = self.state.rows
        key, counter = to_host(rows.key), to_host(rows.counter)
        for row in np.flatnonzero(mask).tolist():
            generator = generators[row]
            if generator is None and not self._seeded[row]:
                generator = seeding.np_random()[0]
            if generator is not None:
                key[row], counter[row] = row_key(generator), 0
        self._seeded |= mask
        rows = rows._replace(key=self.put(key), counter=self.put(counter))
        self.state = self.state._replace(rows=rows)

    def begin(self, mask: HostArray) -> Observations:
        """Start new episodes in the rows of ``mask`` and return the observations of all rows."""
        self.state = self._renewed(self.put(mask), self.state, self.state)
        self._started = True
        return self.observe(*self.state)

    def transition(self, state: State[WorldT], action: Ints) -> tuple[State[WorldT], Transition]:
        """Return the state one step later and the step's result, as a pure function.

        Neither ``state`` nor this object changes. On a device, nothing here waits for it and no
        shape depends on data, so that a CUDA graph can capture the step. Capture it anew after
        ``set_state``, ``set_n_cues`` or a change of an attribute. The new state and the result may
        share arrays with each other, with ``state`` and with ``action``: copy an array before
        writing into it.

        Args:
            state: of this batch, after its first reset.
            action: (B,) int64. The values are not checked, since a check would wait for the device.
                A value out of range raises an index error or gives meaningless results.
        """
        moved, terminated = self._moved(state, action)
        if self.autoreset_mode is AutoresetMode.NEXT_STEP:
            moved = self._renewed(state.rows.done, state, moved)
            terminated = terminated & moved.rows.done  # false in the rows that begin anew
        after, seen = moved, self.observe(*moved)
        observation = seen
        if self.autoreset_mode is AutoresetMode.SAME_STEP:
            after = self._renewed(moved.rows.done, moved, moved)
            observation = seen if after is moved else self.observe(*after)
        rows, info = moved.rows, self.episode_info(moved.world)
        truncated = rows.steps >= self.time_limit if self._terminates else rows.done
        return after, Transition(
            observation, rows.previous_reward, terminated, truncated, rows.done, seen, info
        )

    def step(self, actions: Ints) -> tuple[Observations, Floats, Bools, Bools, Info]:
        """Take one step in every row.

        Args:
            actions: (B,) integers; with a device, a tensor on it, whose values are not checked.

        Returns:
            observations (B, features), rewards (B,), terminated (B,), truncated (B,), infos. With a
            device, infos always have the entries of a step that ends an episode, and ``final_obs``
            is one tensor (B, features).

        Raises:
            InvalidAction: wrong shape or type, or out of range.
            ResetNeeded: before the first reset; with autoreset disabled, after an episode's end.
        """
        action = self._checked(actions)
        self._require_reset()
        if self.autoreset_mode is AutoresetMode.DISABLED and any_of(self.state.rows.done):
            over = checks.few(self.state.rows.done)
            raise ResetNeeded(f"the episode is over in rows {over}: call reset before step")
        self.state, result = self.transition(self.state, action)
        reward = self._copy(result.reward)
        terminated, truncated = self._copy(result.terminated), self._copy(result.truncated)
        return result.observation, reward, terminated, truncated, self._infos(result)

    def render(self) -> tuple[Frame | str, ...] | None:
        """Return one frame (``rgb_array``) or text (``ansi``) for each row."""
        if self.render_mode is None:
            logger.warn(
                f"render needs a render_mode: pass one of {RENDER_MODES} when making the env"
            )
            return None
        self._require_reset()
        draw = draw_text if self.render_mode == "ansi" else draw_frame
        rewards, steps = self.state.rows.previous_reward.tolist(), self.state.rows.steps.tolist()
        return tuple(
            draw(self.scene(row), rewards[row], steps[row], self.episode_length)
            for row in range(self.num_envs)
        )

    def get_state(self) -> dict[str, HostArray]:
        """Return copies of every array that decides what happens from here on, each (B, ...).

        They are numpy arrays. With a device, this waits for it.
        """
        self._require_reset()
        return self._leaves()

    def set_state(self, state: dict[str, HostArray]) -> None:
        """Continue, bit for bit, from a state that ``get_state`` returned on any device.

        Raises:
            ArgumentError: an array is missing or unknown, has another shape or dtype, or a number
                that no state of this environment has.
        """
        current = self._leaves()
        checks.state(state, current)
        checks.state_limits(state, self._limits() | self.limits())
        self.state = self.state.like([self.put(state[name]) for name in current])
        self._seeded[:] = True
        self._started = True

    def _limits(self) -> dict[str, tuple[int, int]]:
        return {
            "counter": (0, 2**62),
            "steps": (0, 2**62),  # the episode's length may have been longer
            "previous_action": (0, self.n_actions),
        }

    def _leaves(self) -> dict[str, HostArray]:
        leaves = {**self.state.rows._asdict(), **self.state.world._asdict()}
        return {name: to_host(leaf) for name, leaf in leaves.items()}

    def _moved(self, state: State[WorldT], action: Ints) -> tuple[State[WorldT], Bools]:
        """The state after one step in every row, without autoreset; and which are terminal."""
        rows = state.rows
        draws, counter = self._next_draws(rows.key, rows.counter)
        world, reward = self.advance(state.world, action, draws)
        steps = rows.steps + 1
        done, terminated = steps >= self.time_limit, self._blank.done
        if self._terminates:
            terminated = self.terminal(world)
            done = done | terminated
        return State(Rows(rows.key, counter, steps, action, reward, done), world), terminated

    def _uniforms_now(self, key: Ints, counter: Ints) -> tuple[Floats, Ints]:
        """As ``UniformsAhead``, for this event alone."""
        return uniforms(self.xp, key, counter, self._step_places), counter + 1

    def _renewed(self, mask: Bools, before: State[WorldT], state: State[WorldT]) -> State[WorldT]:
        """``state`` with new episodes in the rows of ``mask``, drawn with the keys of ``before``.

        If the mask is empty and in numpy, this is ``state`` itself.
        """
        if self.device is None and not any_of(mask):
            return state
        rows, world = before
        draws = uniforms(self.xp, rows.key, rows.counter, self._start_places)
        blank = self._blank._replace(key=rows.key, counter=rows.counter + 1)
        return State(
            select(self.xp, mask, blank, state.rows),
            select(self.xp, mask, self.start(world, draws), state.world),
        )

    def _write_history(self, out: Observations, rows: Rows) -> None:
        """Write time (steps so far / episode length) and previous reward into ``out`` (B, 2)."""
        out[:, 0] = rows.steps / self._divisor
        out[:, 1] = rows.previous_reward

    def _copy(self, array: Array) -> Array:
        """A copy for the caller, who may write into it."""
        return array.copy() if self.device is None else array.clone()

    def _infos(self, result: Transition) -> Info:
        """The infos of rows whose episode ends, in the layout of Gymnasium's vector infos."""
        done = result.done
        if self.device is None and not any_of(done):
            return {}
        infos: Info = {}
        for name, value in result.final_info.items():
            infos[name] = self.xp.where(done, value, self.xp.zeros_like(value))
            infos[f"_{name}"] = self._copy(done)
        if self.autoreset_mode is not AutoresetMode.SAME_STEP:
            return infos
        final = result.final_observation
        return {
            "final_obs": _final(final, done) if self.device is None else final,
            "_final_obs": self._copy(done),
            "final_info": infos,
            "_final_info": self._copy(done),
        }

    def _checked(self, actions: Ints) -> Ints:
        """A copy of the actions in int64, since the caller may reuse the array."""
        if self.device is None:
            return checks.actions(actions, self.num_envs, self.n_actions)
        checks.tensor_actions(actions, self.state.rows.key, self.xp)
        return self.xp.astype(actions, self.xp.int64)

    def _require_reset(self) -> None:
        if not self._started:
            raise ResetNeeded("call reset before step, render or get_state")


def _final(observation: HostArray, done: HostArray) -> HostArray:
    """The last observations before a same-step autoreset; None in other rows (SyncVectorEnv)."""
    final = np.full(done.shape, None, dtype=object)
    final[done] = np.fromiter(observation[done], dtype=object, count=int(done.sum()))
    return final
