"""What is recorded of an episode, for every renderer."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plasticrl.viewer.scene import Scene, check_line
from plasticrl.viewer.synapses import Synapses

_LONGEST_LINE = 500
_TOO_LARGE = np.float64(1e100)
"""The limit of all numbers, so that their sums and differences are finite."""
_IN_TEXTS = str.maketrans("", "", "\n\r\t\x1b")


@dataclass(frozen=True, eq=False, kw_only=True)
class EpisodeTrace:
    """One episode of T >= 1 steps. Entry t of every field belongs to step t.

    Attributes:
        title: one line.
        env_id: the environment's, as in ``gymnasium.make``.
        preset: of the run.
        seed: of the environment and of the actions.
        ablated: whether every plasticity coefficient was set to zero.
        terminated: whether the last step led to a terminal state.
        actions: (T, ...).
        rewards: (T,), what the action earned.
        values: (T,), the critic's estimates before acting.
        modulation: (T,), the neuromodulator's signal, mean over the neurons.
        synapses: the plastic connection; None for a net without one.
        scene: the environment before acting, from its own description.
        frames: uint8 (T, height, width, 3), the ``rgb_array`` rendering before acting.
        texts: T texts, the ``ansi`` rendering before acting; may hold terminal escape codes.

    Raises:
        ValueError: a field has the wrong type, shape or length, or is not finite.
    """

    title: str
    env_id: str
    preset: str
    seed: int
    ablated: bool
    actions: NDArray[Any]
    rewards: NDArray[np.floating]
    values: NDArray[np.floating] | None = None
    modulation: NDArray[np.floating] | None = None
    synapses: Synapses | None = None
    scene: Scene | None = None
    frames: NDArray[np.uint8] | None = None
    texts: tuple[str, ...] | None = None
    terminated: bool = False

    def __post_init__(self) -> None:
        for name in ("title", "env_id", "preset"):
            check_line(name, getattr(self, name), _LONGEST_LINE)
        if np.ndim(self.rewards) != 1 or len(self.rewards) == 0:
            raise ValueError(f"rewards must be (T,) with T >= 1, not {np.shape(self.rewards)}")
        for name in ("rewards", "values", "modulation"):
            if (array := getattr(self, name)) is not None:
                if array.shape != (self.n_steps,):
                    raise ValueError(f"{name} must be ({self.n_steps},), not {array.shape}")
                _check_numbers(name, array, kinds="iuf")
        if np.ndim(self.actions) == 0 or len(self.actions) != self.n_steps:
            found = np.shape(self.actions)
            raise ValueError(f"actions must be ({self.n_steps}, ...) as rewards are, not {found}")
        _check_numbers("actions", self.actions, kinds="biuf")
        trace = None if self.synapses is None else self.synapses.trace
        grid = None if self.scene is None else self.scene.grid
        for name, steps in (("texts", self.texts), ("trace", trace), ("scene", grid)):
            if steps is not None and len(steps) != self.n_steps:
                raise ValueError(f"the {name} must have {self.n_steps} steps, not {len(steps)}")
        if not "".join(self.texts or ()).translate(_IN_TEXTS).isprintable():
            raise ValueError("texts must be printable")
        if self.frames is not None:
            self._check_frames(self.frames)

    @property
    def n_steps(self) -> int:
        return len(self.rewards)

    @property
    def has_picture(self) -> bool:
        """Whether films and pages can draw the environment; a terminal can show texts as well."""
        return self.scene is not None or self.frames is not None

    @property
    def has_discrete_actions(self) -> bool:
        return self.actions.ndim == 1 and self.actions.dtype.kind in "iu"

    def action_name(self, step: int) -> str:
        """The name of an action; its number where it has no name; empty if it is not discrete."""
        if not self.has_discrete_actions:
            return ""
        names = () if self.scene is None else self.scene.actions
        action = int(self.actions[step])
        return names[action] if 0 <= action < len(names) else str(action)

    def _check_frames(self, frames: NDArray[np.uint8]) -> None:
        shape = frames.shape
        expected = len(shape) == 4 and shape[0] == self.n_steps and shape[3] == 3 and all(shape)
        if frames.dtype != np.uint8 or not expected:
            raise ValueError(
                f"frames must be uint8 ({self.n_steps}, height, width, 3), "
                f"not {frames.dtype} {shape}"
            )


def _check_numbers(name: str, array: NDArray[Any], kinds: str) -> None:
    if array.dtype.kind not in kinds or not (np.abs(array) < _TOO_LARGE).all():
        raise ValueError(f"{name} must hold finite numbers, below {_TOO_LARGE:.0e} in size")
