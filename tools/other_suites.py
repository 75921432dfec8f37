"""Run the tests of Stable-Baselines3 or sb3-contrib with the algorithms of this package.

    pip download --no-deps --no-binary :all: stable_baselines3==2.9.2 sb3_contrib==2.9.2
    python -m tools.other_suites FOLDER [OPTIONS OF PYTEST]

FOLDER is an unpacked source archive. Its tests import ``A2C``, ``PPO``, ``RecurrentPPO`` and
``MaskablePPO``, and get ``RecurrentA2C`` and ``RecurrentPPO``, with a plastic policy in place of
the policy that they name. Tests that only use other algorithms are left out. The tests that made
one of our algorithms are counted at the end; ``results/other-suites.md`` explains their failures.
"""

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import sb3_contrib
import stable_baselines3
from stable_baselines3.common.base_class import BaseAlgorithm

from plasticrl.agents import RecurrentA2C, RecurrentPPO

POLICIES = {
    "MlpPolicy": "PlasticPolicy",
    "CnnPolicy": "CnnPlasticPolicy",
    "MultiInputPolicy": "MultiInputPlasticPolicy",
    "MlpLstmPolicy": "PlasticPolicy",
    "CnnLstmPolicy": "CnnPlasticPolicy",
    "MultiInputLstmPolicy": "MultiInputPlasticPolicy",
}
"""Our policies by the names of theirs."""


SHARED_CORE = ("shared_lstm", "enable_critic_lstm")
"""Their options of who has an LSTM. Here actor and critic have one core."""
ABSENT = {"share_features_extractor": True, "n_lstm_layers": 1}
"""Their options that we do not have, and the value that describes our policies."""


class Used:
    """Mixed into our algorithms: translates their arguments, and notes that a test used ours."""

    noted = False

    def __init__(self, policy: Any, env: Any, *arguments: Any, **options: Any) -> None:
        Used.noted = True
        if options.get("policy_kwargs"):
            options["policy_kwargs"] = _translated(options["policy_kwargs"])
        learner: Any = super()
        learner.__init__(POLICIES.get(policy, policy), env, *arguments, **options)


def _translated(policy_kwargs: dict[str, Any]) -> dict[str, Any]:
    ours = {
        name: value
        for name, value in policy_kwargs.items()
        if name not in SHARED_CORE and not (name in ABSENT and ABSENT[name] == value)
    }
    if "lstm_hidden_size" in ours:
        ours |= {"core": "lstm", "core_kwargs": {"hidden_size": ours.pop("lstm_hidden_size")}}
    return ours


class A2C(Used, RecurrentA2C):
    """``RecurrentA2C`` for tests of ``A2C``."""


class PPO(Used, RecurrentPPO):
    """``RecurrentPPO`` for tests of ``PPO``, ``RecurrentPPO`` and ``MaskablePPO``."""


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
    vars(stable_baselines3).update(A2C=A2C, PPO=PPO)
    vars(sb3_contrib).update(RecurrentPPO=PPO, MaskablePPO=PPO)
    arguments = ["--rootdir", str(folder), str(folder / "tests"), *sys.argv[2:]]
    sys.exit(pytest.main(arguments, plugins=[Plugin()]))


if __name__ == "__main__":
    main()
