"""A curriculum makes the environments harder when the agent's reward is high enough."""

from collections import deque
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv

from plasticrl.runs import RunError, UsageError


class Curriculum(BaseCallback):
    """An SB3 callback that sets an option of the environments to one value after another.

    After every rollout it computes the mean reward per trial over the last ``episodes`` episodes
    (per episode, if the environment reports no ``trials`` in its info). If that is at least
    ``threshold``, it calls every environment's ``set_<option>`` with the next value. The new value
    takes effect at each environment's next reset.

    Args:
        option: the option's name.
        stages: its values in order; the first one is set when training starts.
        threshold: mean reward at which the next stage begins.
        episodes: number of episodes in the mean, all of which ended in the current stage.
    """

    def __init__(
        self, option: str, stages: tuple[int, ...], threshold: float, episodes: int = 100
    ) -> None:
        super().__init__()
        self.option = option
        self.stages = stages
        self.threshold = threshold
        self.stage = 0
        self._method = f"set_{option}"
        self.window: deque[tuple[float, int]] = deque(maxlen=episodes)  # reward and trials

    def check(self, env: VecEnv) -> None:
        """Raise ``UsageError`` if the environments have no method to set the option."""
        if not env.has_attr(self._method):
            raise UsageError(
                f"curriculum: the environment has no {self._method}, so {self.option!r} cannot "
                "change"
            )

    def _on_training_start(self) -> None:
        self.check(self.training_env)
        self._set()

    def _on_step(self) -> bool:
        for row in self.locals["dones"].nonzero()[0]:
            info = self.locals["infos"][row]
            self.window.append((float(info["episode"]["r"]), int(info.get("trials", 1))))
        return True

    def _on_rollout_end(self) -> None:
        rewards, trials = zip(*self.window, strict=True) if self.window else ((), ())
        self.logger.record(f"curriculum/{self.option}", self.stages[self.stage])
        if not rewards:
            return
        reward = sum(rewards) / sum(trials)
        self.logger.record("curriculum/reward", reward)
        full = len(self.window) == self.window.maxlen
        if full and reward >= self.threshold and self.stage + 1 < len(self.stages):
            self.stage += 1
            self.window.clear()
            self._set()

    def _set(self) -> None:
        self.training_env.env_method(self._method, self.stages[self.stage])

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint saves of the curriculum."""
        return {"stage": self.stage, "window": [list(episode) for episode in self.window]}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a state that ``state()`` returned.

        Raises:
            RunError: the stage does not exist in this curriculum.
        """
        if not 0 <= state["stage"] < len(self.stages):
            raise RunError(f"the curriculum has {len(self.stages)} stages, not {state['stage']}")
        self.stage = int(state["stage"])
        self.window.extend((float(reward), int(trials)) for reward, trials in state["window"])
