"""Run the tests of Stable-Baselines3 or sb3-contrib with the algorithms of this package.

    pip download --no-deps --no-binary :all: stable_baselines3==2.9.2 sb3_contrib==2.9.2
    python -m tools.other_suites FOLDER [OPTIONS OF PYTEST]

FOLDER is an unpacked source archive. Its tests import ``A2C``, ``PPO``, ``RecurrentPPO`` and
``MaskablePPO``, and get ``RecurrentA2C`` and ``RecurrentPPO`` with the defaults of the algorithms
that they replace, without what these do not have (``WITHOUT``), and with a plastic policy for the
policy that a test names. Tests that only use
other algorithms are left out. The tests that made one of our algorithms are counted at the end;
``results/other-suites.md`` explains their failures.
"""

import sys
from collections import Counter
from inspect import Parameter, signature
from pathlib import Path
from typing import Any

import pytest
import sb3_contrib
import stable_baselines3
from stable_baselines3.common.base_class import BaseAlgorithm

from plasticrl.agents import RecurrentA2C, RecurrentPPO


class Used:
    """Marks our algorithms, and notes that the current test has made one."""

    noted = False


POLICIES = {
    "MlpPolicy": "PlasticPolicy",
    "CnnPolicy": "CnnPlasticPolicy",
    "MultiInputPolicy": "MultiInputPlasticPolicy",
    "MlpLstmPolicy": "PlasticPolicy",
    "CnnLstmPolicy": "CnnPlasticPolicy",
    "MultiInputLstmPolicy": "MultiInputPlasticPolicy",
}
"""Our policies by the names of theirs."""
CORE_OPTIONS = {"lstm_hidden_size": "hidden_size", "n_lstm_layers": "num_layers"}
"""Our options of the core ``lstm`` by the names of theirs."""
WITHOUT = {"normalize_returns": False, "core_lr_scale": 1.0}
"""Our options without effect, because the replaced algorithms have nothing like them."""


def _substitute(theirs: type[BaseAlgorithm], ours: type[BaseAlgorithm]) -> type[BaseAlgorithm]:
    known = signature(ours).parameters
    defaults = {
        name: parameter.default
        for name, parameter in signature(theirs).parameters.items()
        if name in known and parameter.default is not Parameter.empty
    }

    class Substitute(Used, ours):  # type: ignore[misc, valid-type]
        def __init__(self, policy: Any, env: Any, **options: Any) -> None:
            Used.noted = True
            options = WITHOUT | defaults | options
            options["policy_kwargs"] = _translated(options["policy_kwargs"] or {})
            super().__init__(POLICIES.get(policy, policy), env, **options)

    Substitute.__name__ = theirs.__name__
    return Substitute


def _translated(policy_kwargs: dict[str, Any]) -> dict[str, Any]:
    ours = dict(policy_kwargs)
    shared = ours.pop("shared_lstm", None)
    if ours.pop("enable_critic_lstm", False) and not shared:
        ours["share_features_extractor"] = False
    core = {CORE_OPTIONS[name]: ours.pop(name) for name in CORE_OPTIONS if name in ours}
    return ours | {"core": "lstm", "core_kwargs": core} if core else ours


class Plugin:
    """Leaves out tests of other algorithms, and counts the outcomes of those of ours."""

    def __init__(self) -> None:
        self.outcomes: dict[str, Counter[str]] = {}

    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        other = [item for item in items if _is_of_another_algorithm(item)]
        config.hook.pytest_deselected(items=other)
        items[:] = [item for item in items if item not in other]

    def pytest_runtest_setup(self) -> None:
        Used.noted = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and Used.noted:
            self.outcomes.setdefault(report.location[0], Counter())[report.outcome] += 1

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        for name, counts in self.outcomes.items():
            terminalreporter.write_line(f"{name}: {dict(counts)}")
        total = sum(self.outcomes.values(), Counter())
        terminalreporter.write_line(f"all tests that made an algorithm of ours: {dict(total)}")


def _is_of_another_algorithm(item: pytest.Item) -> bool:
    call = getattr(item, "callspec", None)
    values = [] if call is None else call.params.values()
    classes = [value for value in values if isinstance(value, type)]
    return any(issubclass(kind, BaseAlgorithm) and not issubclass(kind, Used) for kind in classes)


def main() -> None:
    """Run the tests in the folder that the command names."""
    folder = Path(sys.argv[1])
    for library, name, ours in (
        (stable_baselines3, "A2C", RecurrentA2C),
        (stable_baselines3, "PPO", RecurrentPPO),
        (sb3_contrib, "RecurrentPPO", RecurrentPPO),
        (sb3_contrib, "MaskablePPO", RecurrentPPO),
    ):
        setattr(library, name, _substitute(getattr(library, name), ours))
    arguments = ["--rootdir", str(folder), str(folder / "tests"), *sys.argv[2:]]
    sys.exit(pytest.main(arguments, plugins=[Plugin()]))


if __name__ == "__main__":
    main()
