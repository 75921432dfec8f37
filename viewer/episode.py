"""What is recorded of an episode, for every renderer."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plasticrl.viewer.scene import Scene
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
            _check_line(name, getattr(self, name))
        if np.ndim(self.rewards) != 1 or len(self.rewards) == 0:
            raise ValueError(f"rewards must be (T,) with T >= 1, not {np.shape(self.rewards)}")
        for name in ("rewards", "values", "modulation"):
            if (array := getattr(self, name)) is not None:
                self._check_series(name, array)
        self._check_per_step("actions", self.actions)
        if self.texts is not None:
            self._check_texts(self.texts)
        self._check_frames()
        if self.synapses is not None and len(self.synapses.trace) != self.n_steps:
            raise ValueError(
                f"the trace must have {self.n_steps} steps, not {len(self.synapses.trace)}"
            )
        if self.scene is not None and len(self.scene.grid) != self.n_steps:
            raise ValueError(
                f"the scene must have {self.n_steps} steps, not {len(self.scene.grid)}"
            )

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

    def _check_per_step(self, name: str, array: NDArray[Any]) -> None:
        if np.ndim(array) == 0 or len(array) != self.n_steps:
            raise ValueError(
                f"{name} must be ({self.n_steps}, ...) as rewards are, not {np.shape(array)}"
            )
        _check_numbers(name, array)

    def _check_series(self, name: str, array: NDArray[Any]) -> None:
        if array.shape != (self.n_steps,):
            raise ValueError(f"{name} must be ({self.n_steps},), not {array.shape}")
        _check_numbers(name, array, kinds="iuf")

    def _check_texts(self, texts: tuple[str, ...]) -> None:
        if len(texts) != self.n_steps:
            raise ValueError(f"texts must be {self.n_steps}, not {len(texts)}")
        if not "".join(texts).translate(_IN_TEXTS).isprintable():
            raise ValueError("texts must be printable")

    def _check_frames(self) -> None:
        if self.frames is None:
            return
        shape = self.frames.shape
        expected = len(shape) == 4 and shape[0] == self.n_steps and shape[3] == 3 and all(shape)
        if self.frames.dtype != np.uint8 or not expected:
            raise ValueError(
                f"frames must be uint8 ({self.n_steps}, height, width, 3), "
                f"not {self.frames.dtype} {shape}"
            )


def _check_line(name: str, text: str) -> None:
    # A terminal would obey the escape codes in a file.
    if not (isinstance(text, str) and text.isprintable() and len(text) <= _LONGEST_LINE):
        raise ValueError(f"{name} must be one line of printable text, not {text!r:.60}")


def _check_numbers(name: str, array: NDArray[Any], kinds: str = "biuf") -> None:
    if array.dtype.kind not in kinds or not (np.abs(array) < _TOO_LARGE).all():
        raise ValueError(f"{name} must hold finite numbers, below {_TOO_LARGE:.0e} in size")
