"""``share_features_extractor=False``: the actor and the critic have nothing in common."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn

from plasticrl.agents import PlasticPolicy, RecurrentA2C
from plasticrl.agents.acting import Actor
from plasticrl.agents.on_policy import RecurrentOnPolicyAlgorithm
from plasticrl.core import Cell, build_cell
from plasticrl.core.cells.composed import Parallel
from plasticrl.core.state import leaves

N_STEPS, N_ENVS = 6, 3


class Features(BaseFeaturesExtractor):
    """A layer, whose weights both losses could reach."""

    def __init__(self, observation_space: Any) -> None:
        super().__init__(observation_space, features_dim=5)
        self.layer = nn.Linear(int(np.prod(observation_space.shape)), 5)

    def forward(self, observations: Tensor) -> Tensor:
        return torch.tanh(self.layer(observations.flatten(1)))


CORES: dict[str, dict[str, Any]] = {
    "plastic_rnn": {"core_kwargs": {"hidden_size": 7}},
    "lstm": {"core": "lstm", "core_kwargs": {"hidden_size": 4}},
    "identity": {"core": "identity"},
}


def make(env: Any, algorithm: Any = RecurrentA2C, separate: bool = True, **kwargs: Any) -> Any:
    kwargs = {"features_extractor_class": Features, "net_arch": [4], **kwargs}
    kwargs["share_features_extractor"] = not separate
    return algorithm("PlasticPolicy", env, n_steps=N_STEPS, seed=1, policy_kwargs=kwargs)


def evaluate(policy: PlasticPolicy, state: Any, backend: str) -> tuple[Tensor, Tensor]:
    """Values and log-probabilities of the same random rollout, in which episodes start."""
    policy.backend = backend
    generator = torch.Generator().manual_seed(0)
    obs = torch.rand(N_STEPS * N_ENVS, 2, 3, generator=generator)
    actions = torch.randint(3, (N_STEPS * N_ENVS,), generator=generator)
    starts = torch.rand(N_STEPS, N_ENVS, generator=generator) < 0.3
    values, log_probs, _ = policy.evaluate_rollout(obs, actions, state, starts)
    return values, log_probs


def part_of(name: str) -> str:
    """Whether a parameter is the actor's or the critic's."""
    is_critic = ("vf_features_extractor", "core.parts.critic", "mlp_extractor.value", "value_net")
    return "critic" if name.startswith(is_critic) else "actor"


def gradients(policy: PlasticPolicy, loss: Tensor) -> dict[str, Tensor]:
    named = dict(policy.named_parameters())
    found = torch.autograd.grad(loss, list(named.values()), retain_graph=True, allow_unused=True)
    return {
        name: torch.zeros_like(value) if gradient is None else gradient
        for (name, value), gradient in zip(named.items(), found, strict=True)
    }


@pytest.mark.parametrize("backend", ["eager", "auto"])
@pytest.mark.parametrize("core", CORES)
def test_no_gradient_of_one_reaches_the_other(core: str, make_vec: Any, backend: str) -> None:
    """Otherwise the value loss changes how the agent acts."""
    policy = make(make_vec(), **CORES[core]).policy
    values, log_probs = evaluate(policy, policy.initial_state(N_ENVS), backend)
    losses = {"actor": log_probs.mean(), "critic": values.square().mean()}
    for own, loss in losses.items():
        found = gradients(policy, loss)
        for name, gradient in found.items():
            if part_of(name) != own:
                assert not gradient.any(), name
        # A mean log-probability reaches all weights of the actor that matter at these inputs.
        reached = {name.split(".")[0] for name, gradient in found.items() if gradient.any()}
        head = {"actor": "action_net", "critic": "value_net"}[own]
        recurrent = set() if core == "identity" else {"core"}
        assert reached >= {head, "mlp_extractor", *recurrent}
        assert len(reached) == 3 + len(recurrent)  # and one features extractor


@pytest.mark.parametrize("backend", ["eager", "auto"])
@pytest.mark.parametrize("core", CORES)
def test_it_is_two_policies_that_share_nothing(core: str, make_vec: Any, backend: str) -> None:
    """Otherwise the two cores, or their states, are mixed up."""
    env = make_vec()
    ours = make(env, **CORES[core]).policy
    actor, critic = (make(env, separate=False, **CORES[core]).policy for _ in range(2))
    for name, policy in {"actor": actor, "critic": critic}.items():
        policy.core.load_state_dict(ours.core.parts[name].state_dict())
        theirs = {"actor": ours.pi_features_extractor, "critic": ours.vf_features_extractor}[name]
        policy.features_extractor.load_state_dict(theirs.state_dict())
        for part in ("mlp_extractor", "action_net", "value_net"):
            getattr(policy, part).load_state_dict(getattr(ours, part).state_dict())
    state = ours.initial_state(N_ENVS)
    state = type(state)(*(None if leaf is None else torch.rand_like(leaf) for leaf in state))
    n_actors = len(actor.initial_state(0))
    states = [
        type(policy.initial_state(0))(*part)
        for policy, part in ((actor, state[:n_actors]), (critic, state[n_actors:]))
    ]
    values, log_probs = evaluate(ours, state, backend)
    _, expected_log_probs = evaluate(actor, states[0], backend)
    expected_values, _ = evaluate(critic, states[1], backend)
    torch.testing.assert_close(log_probs, expected_log_probs, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(values, expected_values, rtol=1e-5, atol=1e-6)
    found = gradients(ours, log_probs.mean() + values.square().mean())
    expected = {
        "actor": gradients(actor, expected_log_probs.mean()),
        "critic": gradients(critic, expected_values.square().mean()),
    }
    for name, gradient in found.items():
        part = part_of(name)
        same = name.replace(f"core.parts.{part}", "core")
        for extractor in ("pi_features_extractor", "vf_features_extractor"):
            same = same.replace(extractor, "features_extractor")
        torch.testing.assert_close(gradient, expected[part][same], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("core", CORES)
def test_one_optimizer_owns_every_parameter_once(core: str, make_vec: Any) -> None:
    """Otherwise a part of the critic is not trained, or trained twice."""
    policy = make(make_vec(), **CORES[core]).policy
    owned = [id(weight) for group in policy.optimizer.param_groups for weight in group["params"]]
    assert len(owned) == len(set(owned))
    named = dict(policy.named_parameters())
    assert set(owned) == {id(weight) for weight in named.values()}
    parts = {name.split(".")[0] for name in named if part_of(name) == "critic"}
    assert "vf_features_extractor" in parts


def test_the_log_has_the_actors_plasticity(
    algorithm: Any, make_vec: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the curves show the critic's, or that of one layer."""
    core_kwargs = {"hidden_size": 7, "num_layers": 2, "modulation": "simple", "clip": 0.05}
    model: RecurrentOnPolicyAlgorithm = make(make_vec(), algorithm, core_kwargs=core_kwargs)
    layers: Any = model.policy.core.parts["actor"].parts.values()  # type: ignore[union-attr]
    signals: list[Tensor] = []

    class Listening(Actor):
        def __init__(self, policy: Any, state: Any, *arguments: Any) -> None:
            super().__init__(policy, state, *arguments)
            self.state = state

        def __call__(self, *arguments: Any) -> Any:
            chosen = super().__call__(*arguments)
            read = self.state.actor_layer_1_hidden, self.state.actor_layer_2_hidden
            signals.extend(
                layer.connection.modulator(hidden).detach()
                for layer, hidden in zip(layers, read, strict=True)
            )
            return chosen

    monkeypatch.setattr("plasticrl.agents.rollout.Actor", Listening)
    model.learning_rate = 0.0
    model._setup_lr_schedule()
    model.learn(N_STEPS * N_ENVS, log_interval=100)  # no line of the log
    logged: dict[str, Any] = {}
    model.logger.dump = lambda **_: logged.update(model.logger.name_to_value)  # type: ignore[method-assign]
    model.dump_logs()
    state = model._last_state
    trace = torch.stack([state.actor_layer_1_trace, state.actor_layer_2_trace]).abs()
    alpha = torch.stack([layer.connection.alpha for layer in layers]).abs()
    expected = {
        "alpha_abs_mean": alpha.mean(),
        "trace_abs_mean": trace.mean(),
        "trace_saturation": (trace >= 0.05).float().mean(),
        "modulation_mean": torch.stack(signals).mean(),
        "modulation_std": torch.stack(signals).std(correction=0),
    }
    found = {name: value for name, value in logged.items() if name.startswith("plastic/")}
    assert found == {
        f"plastic/{name}": pytest.approx(value.item(), rel=1e-4) for name, value in expected.items()
    }


def test_predict_and_a_saved_policy(algorithm: Any, make_vec: Any, tmp_path: Path) -> None:
    """Otherwise a policy that is saved without its algorithm has a shared critic when loaded."""
    env = make_vec()
    model = make(env, algorithm).learn(2 * N_STEPS * N_ENVS)
    obs = env.reset()
    state = model.predict(obs, deterministic=True)[1]
    assert len(state) == len(leaves(model.policy.initial_state(0))) == 4
    model.policy.save(tmp_path / "policy.pt")
    loaded = PlasticPolicy.load(tmp_path / "policy.pt", device="cpu")
    assert isinstance(loaded.core, Parallel)
    for starts in (None, np.array([True, False, True])):
        ours, theirs = (one.predict(obs, state, starts, True) for one in (model, loaded))
        np.testing.assert_array_equal(ours[0], theirs[0])
        for a, b in zip(ours[1], theirs[1], strict=True):
            np.testing.assert_array_equal(a, b)
    assert np.isfinite(evaluate_policy(model, env, n_eval_episodes=3)[0])


class Shared(PlasticPolicy):
    """Replaces the core where SB3 builds its layers."""

    def _build_mlp_extractor(self) -> None:
        super()._build_mlp_extractor()
        self.core: Cell[Any] = build_cell("gru", int(self.features_dim))


def test_a_subclass_with_one_core_is_refused(make_vec: Any) -> None:
    """Otherwise the actor would act by one half of a core's outputs."""
    with pytest.raises(ValueError, match=r"Shared has one core.*give the cell as core="):
        RecurrentA2C(Shared, make_vec(), policy_kwargs={"share_features_extractor": False})
