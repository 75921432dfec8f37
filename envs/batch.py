"""A batch of environments as arrays: autoreset, seeding and saved state, once for all of them.

A subclass gives three functions of arrays and nothing else:

    start(world, draws) -> world                      a new episode in every row
    advance(world, action, draws) -> world, reward    one step in every row
    observe(rows, world) -> observation               what every row sees now

`draws` (B, n) are uniform numbers in [0, 1), the only randomness there is. This module calls the
three and picks rows with `where`: the functions never hear of seeds, masks or autoreset.
"""

from collections.abc import Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from gymnasium import Space, logger
from gymnasium.error import InvalidAction, ResetNeeded
from gymnasium.spaces import Box, Discrete
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from plasticrl.envs import arguments
from plasticrl.envs.arrays import (
    Array,
    Bools,
    Floats,
    Frame,
    Info,
    Ints,
    Observations,
    any_of,
    select,
)
from plasticrl.envs.counter_random import row_key, uniforms

RENDER_MODES = ("rgb_array", "ansi")
METADATA: dict[str, Any] = {"render_modes": list(RENDER_MODES), "render_fps": 8}

WorldT = TypeVar("WorldT", bound=NamedTuple)
Seeds = int | Sequence[int | None] | None


class Rows(NamedTuple):
    """What every environment keeps for a row, each (B,)."""

    key: Ints  # of the row's random numbers, set by seeding alone
    counter: Ints  # resets and steps since the key was set
    steps: Ints  # since the episode's start
    previous_action: Ints  # n_actions where there is none yet
    previous_reward: Floats
    done: Bools  # the episode is over and the row waits for its reset


class BatchEnv(VectorEnv[Observations, Ints, Array], Generic[WorldT]):
    """Many rows of one environment, stepped together.

    Row k, reset with seed s, is exactly the single environment reset with seed s + k, ever after.

    Args:
        num_envs: number of rows B.
        observation_space, action_space: of one row.
        world: the subclass's state before the first reset, with B rows.
        episode_length: steps after which an episode is truncated.
        autoreset_mode: as in `gymnasium.vector.SyncVectorEnv`.
        render_mode: None, "rgb_array" or "ansi".
    """

    start_draws: int  # uniform numbers a new episode takes, in one row
    step_draws: int  # and a step

    def __init__(
        self,
        num_envs: int,
        observation_space: Box,
        action_space: Discrete,
        world: WorldT,
        episode_length: int,
        autoreset_mode: str | AutoresetMode,
        render_mode: str | None,
    ) -> None:
        self.num_envs = num_envs
        self.single_observation_space: Space[Any] = observation_space
        self.single_action_space: Space[Any] = action_space
        self.observation_space = batch_space(observation_space, num_envs)
        self.action_space = batch_space(action_space, num_envs)
        self.n_actions = int(action_space.n)
        self.episode_length = episode_length
        self.autoreset_mode = _autoreset_mode(autoreset_mode)
        self.metadata = {**METADATA, "autoreset_mode": self.autoreset_mode}
        self.render_mode = arguments.choice("render_mode", render_mode, (None, *RENDER_MODES))
        self._seeded = np.zeros(num_envs, dtype=np.bool_)
        self._started = False
        self._rows = self._blank_rows()
        self._world = world

    def start(self, world: WorldT, draws: Floats) -> WorldT:
        """Return the world at an episode's start, from the one before it and `draws` (B, n)."""
        raise NotImplementedError

    def advance(self, world: WorldT, action: Ints, draws: Floats) -> tuple[WorldT, Floats]:
        """Return the world after `action` (B,) and the reward (B,)."""
        raise NotImplementedError

    def observe(self, rows: Rows, world: WorldT) -> Observations:
        """Return the observation (B, features) of every row, in a new array."""
        raise NotImplementedError

    def draw(self, row: int) -> Frame | str:
        """Picture one row, as `render_mode` says."""
        raise NotImplementedError

    def episode_info(self, world: WorldT) -> dict[str, Array]:
        """What `info` says of a finished episode: name -> (B,)."""
        return {}

    def reset(
        self, *, seed: Seeds = None, options: Info | None = None
    ) -> tuple[Observations, Info]:
        """Start new episodes in all rows, or in those of `options["reset_mask"]`.

        Args:
            seed: None continues every row's random numbers; an int s seeds row k with s + k; a list
                has an int or None for each row.
            options: {"reset_mask": bool array (B,)}, as SyncVectorEnv takes it.

        Returns:
            The observations (B, features) of all rows, and an empty info.
        """
        mask = self._reset_mask(options)
        self.seed_rows(mask, [_generator(one) for one in self._row_seeds(seed)])
        return self.begin(mask), {}

    def seed_rows(self, mask: Bools, generators: Sequence[np.random.Generator | None]) -> None:
        """Draw a key for each row of `mask` that has a generator, or has no key yet."""
        key, counter = self._rows.key.copy(), self._rows.counter.copy()
        for row in np.flatnonzero(mask).tolist():
            generator = generators[row]
            if generator is None and not self._seeded[row]:
                generator = seeding.np_random()[0]
            if generator is not None:
                key[row], counter[row] = row_key(generator), 0
        self._seeded |= mask
        self._rows = self._rows._replace(key=key, counter=counter)

    def begin(self, mask: Bools) -> Observations:
        """Start new episodes in the rows of `mask` and return what all rows see."""
        self._renew(mask)
        self._started = True
        return self.observe(self._rows, self._world)

    def step(self, actions: Ints) -> tuple[Observations, Floats, Bools, Bools, Info]:
        """Take one step in every row.

        Args:
            actions: (B,) integers.

        Returns:
            observations (B, features), rewards (B,), terminated (B,), truncated (B,), infos.

        Raises:
            InvalidAction: wrong shape or type, or out of range.
            ResetNeeded: before the first reset; with autoreset disabled, after an episode's end.
        """
        action = self._checked(actions)
        self._require_reset()
        again = self._rows.done
        if self.autoreset_mode is AutoresetMode.DISABLED and any_of(again):
            raise ResetNeeded(f"the episode is over in rows {_few(again)}: call reset before step")
        before = (self._rows, self._world)
        self._advance(action)
        if self.autoreset_mode is AutoresetMode.NEXT_STEP and any_of(again):
            self._renew(again, before)
        reward, truncated = self._rows.previous_reward.copy(), self._rows.done.copy()
        observation = self.observe(self._rows, self._world)
        infos = self._end_info(truncated)
        if self.autoreset_mode is AutoresetMode.SAME_STEP and any_of(truncated):
            infos = _final(observation, infos, truncated)
            self._renew(truncated)
            observation = self.observe(self._rows, self._world)
        return observation, reward, np.zeros(self.num_envs, dtype=np.bool_), truncated, infos

    def render(self) -> tuple[Frame | str, ...] | None:
        """Return one frame (`rgb_array`) or text (`ansi`) for each row."""
        if self.render_mode is None:
            logger.warn(
                f"render needs a render_mode: pass one of {RENDER_MODES} when making the env"
            )
            return None
        self._require_reset()
        return tuple(self.draw(row) for row in range(self.num_envs))

    def get_state(self) -> dict[str, Array]:
        """Return copies of every array that decides what happens from here on, each (B, ...)."""
        self._require_reset()
        return {name: leaf.copy() for name, leaf in self._leaves().items()}

    def set_state(self, state: dict[str, Array]) -> None:
        """Continue, bit for bit, from a state that `get_state` gave.

        Raises:
            ValueError: an array is missing or unknown, or has another shape or dtype.
        """
        current = self._leaves()
        if state.keys() != current.keys():
            wrong = sorted(state.keys() ^ current.keys())
            raise ValueError(
                f"state must hold exactly {sorted(current)}; missing or unknown: {wrong}"
            )
        for name, leaf in current.items():
            _check_leaf(name, state[name], leaf)
        rows = len(Rows._fields)
        leaves = [state[name].copy() for name in current]
        self._rows = Rows._make(leaves[:rows])
        self._world = type(self._world)._make(leaves[rows:])
        self._seeded[:] = True
        self._started = True

    def _leaves(self) -> dict[str, Array]:
        return {**self._rows._asdict(), **self._world._asdict()}

    def _blank_rows(self) -> Rows:
        zeros = np.zeros(self.num_envs, dtype=np.int64)
        none = np.full_like(zeros, self.n_actions)
        return Rows(zeros, zeros, zeros, none, zeros.astype(np.float64), zeros.astype(np.bool_))

    def _renew(self, mask: Bools, before: tuple[Rows, WorldT] | None = None) -> None:
        """Put new episodes, drawn from the state `before` (now), into the rows of `mask`."""
        rows, world = before or (self._rows, self._world)
        draws = uniforms(rows.key, rows.counter, self.start_draws)
        blank = self._blank_rows()._replace(key=rows.key, counter=rows.counter + 1)
        self._rows = select(mask, blank, self._rows)
        self._world = select(mask, self.start(world, draws), self._world)

    def _advance(self, action: Ints) -> None:
        rows = self._rows
        draws = uniforms(rows.key, rows.counter, self.step_draws)
        self._world, reward = self.advance(self._world, action, draws)
        steps = rows.steps + 1
        done = steps >= self.episode_length
        self._rows = Rows(rows.key, rows.counter + 1, steps, action, reward, done)

    def _end_info(self, done: Bools) -> Info:
        """The info of rows whose episode ends here, laid out as Gymnasium's vector infos."""
        infos: Info = {}
        if any_of(done):
            for name, value in self.episode_info(self._world).items():
                infos[name] = np.where(done, value, np.zeros_like(value))
                infos[f"_{name}"] = done.copy()
        return infos

    def _checked(self, actions: Ints) -> Ints:
        action: Array = np.asarray(actions)
        if action.shape != (self.num_envs,) or action.dtype.kind not in "iu":
            raise InvalidAction(
                f"actions must be integers of shape ({self.num_envs},), "
                f"got {action.dtype} of shape {action.shape}"
            )
        if action.min() < 0 or action.max() >= self.n_actions:
            raise InvalidAction(f"actions must be in 0 .. {self.n_actions - 1}, got {actions!r}")
        return action.astype(np.int64)  # a copy: the caller may reuse the array

    def _require_reset(self) -> None:
        if not self._started:
            raise ResetNeeded("call reset before step, render or get_state")

    def _row_seeds(self, seed: Seeds) -> list[int | None]:
        if seed is None:
            return [None] * self.num_envs
        if isinstance(seed, int | np.integer):
            return [int(seed) + row for row in range(self.num_envs)]
        if len(seed) != self.num_envs:
            raise ValueError(f"seed must have {self.num_envs} entries, one a row, got {len(seed)}")
        return [None if one is None else int(one) for one in seed]

    def _reset_mask(self, options: Info | None) -> Bools:
        check_options(options, allowed=("reset_mask",))
        if not options:
            return np.ones(self.num_envs, dtype=np.bool_)
        mask = options["reset_mask"]
        if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
            raise TypeError(f"options['reset_mask'] must be a boolean numpy array, got {mask!r}")
        if mask.shape != (self.num_envs,) or not mask.any():
            raise ValueError(
                f"options['reset_mask'] must have shape ({self.num_envs},) and a true entry, "
                f"got {mask}"
            )
        if not mask.all():
            self._require_reset()
        return mask


def check_options(options: Info | None, allowed: Sequence[str] = ()) -> None:
    """Refuse reset options that would do nothing."""
    unknown = sorted((options or {}).keys() - set(allowed))
    if unknown:
        raise ValueError(f"unknown reset options {unknown}, expected one of {list(allowed)}")


def _autoreset_mode(mode: str | AutoresetMode) -> AutoresetMode:
    try:
        return AutoresetMode(mode)
    except ValueError:
        known = [one.value for one in AutoresetMode]
        raise ValueError(f"autoreset_mode must be one of {known}, got {mode!r}") from None


def _generator(seed: int | None) -> np.random.Generator | None:
    return None if seed is None else seeding.np_random(seed)[0]


def _final(observation: Observations, info: Info, done: Bools) -> Info:
    """The infos of a same-step autoreset, as SyncVectorEnv's: None in rows that are not done."""
    final_obs = np.full(done.shape, None, dtype=object)
    final_obs[done] = np.fromiter(observation[done], dtype=object, count=int(done.sum()))
    return {
        "final_obs": final_obs,
        "_final_obs": done.copy(),
        "final_info": info,
        "_final_info": done.copy(),
    }


def _check_leaf(name: str, leaf: object, expected: Array) -> None:
    if not isinstance(leaf, np.ndarray):
        raise ValueError(f"state[{name!r}] must be a numpy array, got {type(leaf).__name__}")
    if leaf.shape != expected.shape or leaf.dtype != expected.dtype:
        raise ValueError(
            f"state[{name!r}] must be {expected.dtype} of shape {expected.shape}, "
            f"got {leaf.dtype} of shape {leaf.shape}"
        )


def _few(mask: Bools, most: int = 8) -> str:
    rows = np.flatnonzero(mask)
    return ", ".join(map(str, rows[:most])) + (", ..." if len(rows) > most else "")
