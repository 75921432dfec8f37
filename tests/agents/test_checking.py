"""check_recurrent: our algorithms pass it, and copies that are broken on purpose fail it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from sb3_contrib import RecurrentPPO as ContribPPO
from sb3_contrib.common.recurrent.buffers import RecurrentRolloutBuffer
from tests.agents.conftest import CORES
from torch import Tensor

from plasticrl.agents import PlasticPolicy, RecurrentPPO, check_recurrent, exporting
from plasticrl.agents.checking import PROPERTIES, Adapter, Report, Result
from plasticrl.agents.conformance import exported
from plasticrl.agents.on_policy import Experience
from plasticrl.core import sequence
from plasticrl.core.backends import eager
from plasticrl.core.state import map_leaves, select
from plasticrl.runs import UsageError

WITHOUT_MEMORY = {"core": "identity"}
ALL_BUT_EXPORT = tuple(name for name in PROPERTIES if name != "export")
"""All properties except ``export``, which takes seconds and is tested in test_exporting.py."""


def make(
    env: Any,
    algorithm: Any = RecurrentPPO,
    policy: Any = "PlasticPolicy",
    core: dict[str, Any] | None = None,
    **options: Any,
) -> Any:
    """A small model; with RecurrentPPO, a minibatch has two of three environments."""
    if algorithm is RecurrentPPO:
        options = {"batch_size": 16, "n_epochs": 2, **options}
    given = {"n_steps": 8, "device": "cpu", "policy_kwargs": core, **options}
    return algorithm(policy, env, **given)


def contrib(env: Any, **options: Any) -> Any:
    given = {"n_steps": 8, "batch_size": 8, "n_epochs": 2, "device": "cpu", **options}
    given["policy_kwargs"] = {"lstm_hidden_size": 7, **given.get("policy_kwargs", {})}
    return ContribPPO("MlpLstmPolicy", env, **given)


# What passes


def test_our_algorithms_pass(algorithm: Any, core: dict[str, Any]) -> None:
    """Otherwise a core or an algorithm has a defect, or the suite is wrong.

    Every core and every algorithm is tested with and without ``bptt_length``.
    """
    number = list(CORES.values()).index(core) + (algorithm is RecurrentPPO)
    length = 3 if number % 2 else None
    report = check_recurrent(
        lambda env: make(env, algorithm, core=core, bptt_length=length, gae_lambda=0.9),
        ALL_BUT_EXPORT,
    )
    report.raise_if_failed()
    assert len(report.results) == len(ALL_BUT_EXPORT)
    without_memory = core.get("core") == "identity"
    assert report.not_tested == (("reset", "bptt_length") if without_memory else ())


def test_our_export_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the suite runs the files in a wrong way, or does not say what it left out."""
    result = check_recurrent(make, ["export"])["export"]
    assert result.status == "passed"
    assert "(.pt2)" in result.sentence
    assert "(.onnx)" in result.sentence
    monkeypatch.setattr(exported, "find_spec", lambda name: None if name == "onnx" else name)
    result = check_recurrent(make, ["export"])["export"]
    assert result.status == "not tested"
    assert "(.pt2); to test .onnx too: pip install 'plasticrl[export]'" in result.sentence


@pytest.mark.parametrize(
    "critic",
    [
        {},
        {"enable_critic_lstm": False},
        {"enable_critic_lstm": False, "shared_lstm": True},
        {"n_lstm_layers": 2},
    ],
    ids=["own-lstm", "no-lstm", "shared-lstm", "two-layers"],
)
def test_sb3_contrib(critic: dict[str, Any]) -> None:
    """Otherwise docs/check_recurrent.md says something wrong of sb3-contrib."""
    report = check_recurrent(lambda env: contrib(env, policy_kwargs=critic))
    assert report.failed == ("stopped_by_callback",)
    assert report.not_tested == ("bptt_length", "export")
    reason = "a RecurrentActorCriticPolicy cannot be exported: give a PlasticPolicy"
    assert report["export"].sentence.startswith(reason)


def test_the_change_that_an_issue_of_sb3_contrib_asks_for_fails() -> None:
    """Issue 284 asks to reset the state where a rollout of an environment begins.

    The log-probabilities would then be wrong in episodes that began in an earlier rollout.
    """

    class Resets(RecurrentRolloutBuffer):
        def _get_samples(self, batch_inds: Any, env_change: Any, env: Any = None) -> Any:
            samples = super()._get_samples(batch_inds, env_change, env)
            starts = np.maximum(self.episode_starts, env_change)[batch_inds]
            return samples._replace(episode_starts=self.pad_and_flatten(starts))

    def patched(env: Any) -> Any:
        model = contrib(env)
        model.rollout_buffer.__class__ = Resets
        return model

    assert check_recurrent(patched, ["loss_log_probs"]).failed == ("loss_log_probs",)


# What fails: copies that are broken on purpose


def reset_one_reset_all(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A reset of one environment resets all."""
    monkeypatch.setattr(
        eager, "select", lambda where, *states: select(where.any().expand(len(where)), *states)
    )
    return lambda env: make(env, batch_size=1000, core={"core": "gru", "backend": "eager"})


def reset_leaves_a_rest(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A reset keeps a tenth of the state."""

    def selected(where: Tensor, new: Any, old: Any) -> Any:
        return select(where, map_leaves(lambda x, y: x + 0.1 * y, new, old), old)

    monkeypatch.setattr(eager, "select", selected)
    return lambda env: make(env, core={"core": "gru", "backend": "eager"})


def export_ignores_resets(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The exported file does not reset the state where an episode starts."""

    def without_resets(core: Any, inputs: Any, state: Any, starts: Any, backend: str) -> Any:
        return sequence(core, inputs, state, starts & False, backend)

    monkeypatch.setattr(exporting, "sequence", without_resets)
    return lambda env: make(env, core={"core": "gru", "backend": "eager"}, batch_size=1000)


class OtherStartAlone(PlasticPolicy):
    """The initial state depends on the size of the batch."""

    def _build_mlp_extractor(self) -> None:
        super()._build_mlp_extractor()
        initial = self.core.initial_state
        self.core.initial_state = lambda n: map_leaves(lambda leaf: leaf + (n == 1), initial(n))


class LogProbsOfTheStepBefore(RecurrentPPO):
    def _fill_in(self, buffer: Any, *arguments: Any) -> None:
        super()._fill_in(buffer, *arguments)
        buffer.log_probs[:] = np.roll(buffer.log_probs, 1, axis=0)


class ForgetsTheStateBetweenRollouts(RecurrentPPO):
    """The loss begins with the initial state, not with that of the rollout's start."""

    def _experience(self) -> Experience:
        rollout = super()._experience()
        return rollout._replace(start_state=map_leaves(torch.zeros_like, rollout.start_state))


class CutsLater(PlasticPolicy):
    """The gradient reaches one step too far."""

    def evaluate_rollout(self, *arguments: Any, **options: Any) -> Any:
        obs, actions, state, episode_starts, length = arguments
        return super().evaluate_rollout(obs, actions, state, episode_starts, length + 1, **options)


class PredictsFromOtherObservations(PlasticPolicy):
    def predict(self, observation: Any, *arguments: Any, **options: Any) -> Any:
        return super().predict(0.9 * observation, *arguments, **options)


class ForgetsTheLastStep(RecurrentPPO):
    """Continues with the observations before the step after which it was stopped, as SB3 does."""

    def collect_rollouts(self, env: Any, callback: Any, *arguments: Any, **options: Any) -> bool:
        shown = []
        on_step = callback.on_step

        def keep() -> bool:
            shown.append((callback.locals["obs"], callback.locals["starts"]))
            return on_step()

        callback.on_step = keep
        goes_on = super().collect_rollouts(env, callback, *arguments, **options)
        if not goes_on:
            self._last_obs, self._last_episode_starts = shown[-1]
        return goes_on


class SavesNoOptimizer(RecurrentPPO):
    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        return ["policy"], []


class PredictDropsTheState(RecurrentPPO):
    """A call of ``predict`` loses the state of the training environments."""

    def predict(self, *arguments: Any, **options: Any) -> Any:
        self._last_state = None
        return super().predict(*arguments, **options)


class PredictDrawsNumbers(RecurrentPPO):
    """A call of ``predict`` changes the random numbers of the training."""

    def predict(self, *arguments: Any, **options: Any) -> Any:
        torch.rand(1)
        return super().predict(*arguments, **options)


def with_policy(policy: type[PlasticPolicy], **options: Any) -> Callable[..., Any]:
    core = {"core": "gru", "backend": "eager"}
    return lambda _: lambda env: make(env, policy=policy, core=core, batch_size=1000, **options)


def with_algorithm(algorithm: Any) -> Callable[..., Any]:
    options = {"core": {"core": "gru"}, "batch_size": 1000, "n_epochs": 2}
    return lambda _: lambda env: make(env, algorithm, **options)


BROKEN: dict[str, tuple[Callable[[pytest.MonkeyPatch], Any], set[str]]] = {
    "reset_one_reset_all": (reset_one_reset_all, {"separate_environments", "batch_size"}),
    # A model that was trained and then gets new environments keeps a rest too; a loaded one cannot.
    "reset_leaves_a_rest": (reset_leaves_a_rest, {"reset", "save_and_resume"}),
    "OtherStartAlone": (with_policy(OtherStartAlone), {"batch_size"}),
    "LogProbsOfTheStepBefore": (with_algorithm(LogProbsOfTheStepBefore), {"loss_log_probs"}),
    "ForgetsTheStateBetweenRollouts": (
        with_algorithm(ForgetsTheStateBetweenRollouts),
        {"loss_log_probs", "bptt_length"},
    ),
    "CutsLater": (with_policy(CutsLater, bptt_length=3), {"bptt_length"}),
    "PredictsFromOtherObservations": (
        with_policy(PredictsFromOtherObservations),
        {"predict", "stopped_by_callback", "export"},
    ),
    "export_ignores_resets": (export_ignores_resets, {"export"}),
    "ForgetsTheLastStep": (with_algorithm(ForgetsTheLastStep), {"stopped_by_callback"}),
    "SavesNoOptimizer": (with_algorithm(SavesNoOptimizer), {"save_and_resume"}),
    "PredictDropsTheState": (with_algorithm(PredictDropsTheState), {"evaluation"}),
    "PredictDrawsNumbers": (with_algorithm(PredictDrawsNumbers), {"evaluation"}),
}
"""For each broken copy, the function that breaks it and the properties that must fail."""


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_copy_fails(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the suite overlooks the defect, or blames another property."""
    broken, expected = BROKEN[name]
    names = PROPERTIES if "export" in expected else ALL_BUT_EXPORT
    report = check_recurrent(broken(monkeypatch), names)
    assert set(report.failed) == expected, str(report)
    assert report.not_tested == ()
    assert all(report[failed].error is None for failed in report.failed)


def test_every_property_can_fail() -> None:
    """Otherwise a property has no test."""
    assert set().union(*(expected for _, expected in BROKEN.values())) == set(PROPERTIES)


# The report


def test_a_report_has_one_line_a_property() -> None:
    """Otherwise it cannot be read."""
    error = ValueError("no\nsuch file")
    report = Report(
        (
            Result("reset", "passed", "differed by 0.1."),
            Result("predict", "not tested", "no log_std."),
            Result("evaluation", "failed", "ValueError: no", error),
        )
    )
    assert str(report).splitlines() == [
        "passed      reset: differed by 0.1.",
        "not tested  predict: no log_std.",
        "failed      evaluation: ValueError: no",
    ]
    assert (report.failed, report.not_tested) == (("evaluation",), ("predict",))
    with pytest.raises(AssertionError, match="failed      evaluation") as raised:
        report.raise_if_failed()
    assert raised.value.__cause__ is error


def test_an_error_of_the_algorithm_is_a_failure_of_the_property() -> None:
    """Otherwise one error hides the results of all other properties."""

    class CannotSave(RecurrentPPO):
        def save(self, *arguments: Any, **options: Any) -> None:
            raise OSError("disk full\nand more")

    report = check_recurrent(with_algorithm(CannotSave)(None), ["save_and_resume", "predict"])
    assert report.failed == ("save_and_resume",)
    assert report["save_and_resume"].sentence == "OSError: disk full"
    assert isinstance(report["save_and_resume"].error, OSError)
    assert report["predict"].status == "passed"


def test_what_cannot_be_tested_is_not_passed() -> None:
    """Otherwise a report claims a property that was not tested."""

    def learns_nothing(env: Any) -> Any:
        options = {"learning_rate": 0.0, "normalize_returns": False}
        return make(env, core=WITHOUT_MEMORY, **options)

    names = ["reset", "bptt_length", "save_and_resume", "evaluation"]
    assert check_recurrent(learns_nothing, names).not_tested == tuple(names)
    other_name = Adapter(loss_method="reset_noise")
    names = ["loss_log_probs", "bptt_length"]
    assert check_recurrent(make, names, other_name).not_tested == tuple(names)

    def without_log_std(env: Any) -> Any:
        model = make(env)
        model.policy.sigma = model.policy.log_std
        del model.policy.log_std
        return model

    names = ["separate_environments", "batch_size", "predict", "stopped_by_callback"]
    assert check_recurrent(without_log_std, names).not_tested == tuple(names)


@pytest.mark.parametrize(
    ("build", "names", "sentence"),
    [
        (make, ["rest"], "there is no property 'rest': there are separate_environments, reset, "),
        ("RecurrentA2C", None, "make_model must be a function that builds the model, not a str"),
        (lambda env: make(env, n_steps=5), None, "n_steps of at least 6, .*, not 5"),
        (lambda env: make("Pendulum-v1"), None, "on the environments that it is given"),
        (lambda env: env, None, "an on-policy algorithm of Stable-Baselines3, not a Recorded"),
    ],
)
def test_a_bad_argument_is_named(build: Any, names: Any, sentence: str) -> None:
    """Otherwise it is a traceback, or a property that seems to fail."""
    with pytest.raises(UsageError, match=sentence):
        check_recurrent(build, names)


def test_an_adapter_that_does_not_fit_is_named() -> None:
    """Otherwise the loss seems to be wrong."""
    with pytest.raises(UsageError, match="a method of PlasticPolicy, not 'evaluate'"):
        check_recurrent(make, adapter=Adapter("evaluate"))
