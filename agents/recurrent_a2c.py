"""Recurrent advantage actor-critic (A2C; Mnih et al. 2016, arXiv 1602.01783).

Each update minimizes, for the policy pi, the value estimate V, the generalized advantage A
(Schulman et al. 2016, arXiv 1506.02438) and the return R, which is A (before normalization) plus
the value estimate at the time of the rollout:

    loss = mean over steps and environments of
           - log pi(a) A + vf_coef (R - V)^2 + ent_coef * concentration

The concentration of pi is minus Shannon's entropy, or Simpson's index, which is the sum of squared
probabilities (Miconi et al. 2019, arXiv 2002.10585, section 4.2).
"""

from typing import Any, Literal, Self

import torch
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback, Schedule
from torch import Tensor

from plasticrl.agents.on_policy import RecurrentOnPolicyAlgorithm
from plasticrl.agents.options import A2COptions
from plasticrl.agents.policies import PlasticPolicy


class RecurrentA2C(RecurrentOnPolicyAlgorithm):
    """A2C for policies with a recurrent core.

    Args:
        policy: "PlasticPolicy", "CnnPlasticPolicy", "MultiInputPlasticPolicy", or a subclass of
            ``PlasticPolicy``.
        env: an environment, a vectorized environment, or the id of an environment.
        learning_rate: Adam's step size, or a function of the remaining progress.
        ent_coef: the weight of the entropy term, or a function of the remaining progress.
        n_steps, bptt_length, gamma, gae_lambda: see ``plasticrl.agents.options.A2COptions``.
        entropy, vf_coef, max_grad_norm: see ``A2COptions``.
        normalize_advantage, normalize_returns, core_lr_scale: see ``A2COptions``.
        bootstrap_truncated: see ``A2COptions``.
        stats_window_size, tensorboard_log, policy_kwargs, verbose, seed, device: as in SB3.

    Raises:
        ValueError: for a value outside its range, or a policy that is not a ``PlasticPolicy``.
    """

    options_type = A2COptions

    def __init__(
        self,
        policy: str | type[PlasticPolicy],
        env: GymEnv | str,
        learning_rate: float | Schedule = A2COptions.learning_rate,
        n_steps: int = A2COptions.n_steps,
        bptt_length: int | None = A2COptions.bptt_length,
        gamma: float = A2COptions.gamma,
        gae_lambda: float = A2COptions.gae_lambda,
        ent_coef: float | Schedule = A2COptions.ent_coef,
        entropy: Literal["shannon", "simpson"] = A2COptions.entropy,
        vf_coef: float = A2COptions.vf_coef,
        max_grad_norm: float = A2COptions.max_grad_norm,
        normalize_advantage: bool = A2COptions.normalize_advantage,
        normalize_returns: bool = A2COptions.normalize_returns,
        core_lr_scale: float = A2COptions.core_lr_scale,
        bootstrap_truncated: bool = A2COptions.bootstrap_truncated,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: torch.device | str = "auto",
        _init_setup_model: bool = True,
    ) -> None:
        super().__init__(
            policy,
            env,
            {
                "learning_rate": learning_rate,
                "n_steps": n_steps,
                "bptt_length": bptt_length,
                "gamma": gamma,
                "gae_lambda": gae_lambda,
                "ent_coef": ent_coef,
                "entropy": entropy,
                "vf_coef": vf_coef,
                "max_grad_norm": max_grad_norm,
                "normalize_advantage": normalize_advantage,
                "normalize_returns": normalize_returns,
                "core_lr_scale": core_lr_scale,
                "bootstrap_truncated": bootstrap_truncated,
            },
            stats_window_size=stats_window_size,
            tensorboard_log=tensorboard_log,
            policy_kwargs=policy_kwargs,
            verbose=verbose,
            seed=seed,
            device=device,
            _init_setup_model=_init_setup_model,
        )

    def _may_replay(self) -> bool:
        """Whether ``train`` can replay the steps that a stepper records in the rollout.

        A replay backpropagates through the whole rollout, so ``bptt_length`` must not be shorter.
        It gives no gradient for the core's inputs, so the features extractor must have no weights.
        """
        whole = self.bptt_length is None or self.bptt_length == self.n_steps
        return whole and self.policy.has_stock_extractor

    def train(self) -> None:
        """Take one gradient step on the whole rollout.

        Raises:
            DivergedError: if the gradient is not finite; the weights are then unchanged.
        """
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        rollout = self._experience()
        if self.normalize_returns:
            self.policy.rescale_values(self.ranks.gather(rollout.returns))
        values, log_probs, distribution = self._evaluate_rollout(
            rollout.observations,
            rollout.actions,
            rollout.start_state,
            rollout.episode_starts,
            self.bptt_length,
            self._stepper,
            rollout.action_masks,
        )
        self._stepper = None
        losses = {
            "policy": self._mean(-self._normalized(rollout.advantages) * log_probs),
            "value": self._mean((rollout.returns - values.flatten()).square()),
            "entropy": self._mean(self._concentration(distribution, log_probs)),
        }
        grad_norm = self._minimize(losses)
        self._n_updates += 1
        self._log_update(
            {f"{name}_loss": loss for name, loss in losses.items()} | {"grad_norm": grad_norm}
        )

    def _mean(self, values: Tensor) -> Tensor:
        """The mean over all steps and environments, of values (T B,)."""
        return values.mean()

    def learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 100,
        tb_log_name: str = "RecurrentA2C",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """Train; see SB3's ``A2C.learn``."""
        options = (log_interval, tb_log_name, reset_num_timesteps, progress_bar)
        return super().learn(total_timesteps, callback, *options)
