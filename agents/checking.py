"""Checks that a recurrent on-policy algorithm handles its state correctly.

``check_recurrent`` tests any algorithm with SB3's interface: those of this package, sb3-contrib's
RecurrentPPO, and your own. It builds the algorithm on small environments with known observations,
trains it for some rollouts, and tests the properties of ``PROPERTIES``.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from plasticrl.agents.conformance import acting, exported, learning
from plasticrl.agents.conformance.adapters import Adapter
from plasticrl.agents.conformance.subject import MakeModel, Subject
from plasticrl.agents.conformance.verdict import NotTestedError, ViolationError
from plasticrl.runs import UsageError

__all__ = ["PROPERTIES", "Adapter", "Report", "Result", "check_recurrent"]

PROPERTIES: dict[str, Callable[[Subject], str]] = {
    check.__name__: check
    for check in (
        acting.separate_environments,
        acting.reset,
        acting.batch_size,
        acting.predict,
        acting.stopped_by_callback,
        learning.loss_log_probs,
        learning.bptt_length,
        learning.save_and_resume,
        learning.evaluation,
        exported.export,
    )
}
"""All properties, in the order of the report.

Each is a function that returns a sentence with its measurements. It raises ``ViolationError`` with
that sentence if the property does not hold, and ``NotTestedError`` with the reason if the algorithm
does not allow the test.
"""

PASSED, FAILED, NOT_TESTED = "passed", "failed", "not tested"


@dataclass(frozen=True)
class Result:
    """The result of the test of one property."""

    name: str
    status: str
    """"passed", "failed" or "not tested"."""
    sentence: str
    """The measurements; the reason if the property was not tested."""
    error: Exception | None = None
    """The exception that the algorithm raised, if that is why the property failed."""

    def __str__(self) -> str:
        return f"{self.status:<10}  {self.name}: {self.sentence}"


@dataclass(frozen=True)
class Report:
    """The results of all properties that were asked for; ``str`` gives one line for each."""

    results: tuple[Result, ...]

    def __getitem__(self, name: str) -> Result:
        """The result of a property, by its name."""
        return {result.name: result for result in self.results}[name]

    def __str__(self) -> str:
        return "\n".join(map(str, self.results))

    @property
    def failed(self) -> tuple[str, ...]:
        """The names of the properties that failed."""
        return self._with_status(FAILED)

    @property
    def not_tested(self) -> tuple[str, ...]:
        """The names of the properties that could not be tested."""
        return self._with_status(NOT_TESTED)

    def raise_if_failed(self) -> None:
        """Raise ``AssertionError`` with the report if a property failed.

        A property that could not be tested does not raise; see ``not_tested``.
        """
        errors = [result.error for result in self.results if result.error is not None]
        if self.failed:
            raise AssertionError(f"the state is not handled correctly:\n{self}") from next(
                iter(errors), None
            )

    def _with_status(self, status: str) -> tuple[str, ...]:
        return tuple(result.name for result in self.results if result.status == status)


def check_recurrent(
    make_model: MakeModel,
    properties: Iterable[str] | None = None,
    adapter: Adapter | None = None,
) -> Report:
    """Check that a recurrent on-policy algorithm handles its state correctly.

    The function sets the global seeds of Python, NumPy and torch. Use a small network and short
    rollouts: the time grows with both.

    Args:
        make_model: builds the untrained algorithm on a ``VecEnv``, which has observations in
            ``Box(-1, 1, (4,))`` and actions in a ``Box`` or ``Discrete``. It is called many times;
            noise is added to the weights, and all models get the same weights.
        properties: the names of the properties to test; None: all of ``PROPERTIES``.
        adapter: what the tests need of the algorithm beyond SB3's interface. None: the
            adapter of this package for its own policies, else that of SB3's conventions.

    Raises:
        UsageError: for an unknown property, a model that is not built on the environments or has
            rollouts of less than 6 steps, or an adapter that does not fit.
        Exception: whatever ``make_model`` raises when it is called for the first time.
    """
    if not callable(make_model):
        raise UsageError(
            f"make_model must be a function that builds the model, not a "
            f"{type(make_model).__name__}: give lambda env: RecurrentA2C('PlasticPolicy', env)"
        )
    names = list(PROPERTIES) if properties is None else list(properties)
    if unknown := [name for name in names if name not in PROPERTIES]:
        there = ", ".join(PROPERTIES)
        raise UsageError(f"there is no property {unknown[0]!r}: there are {there}")
    subject = Subject(make_model, adapter)
    return Report(tuple(_check(name, subject) for name in names))


def _check(name: str, subject: Subject) -> Result:
    try:
        return Result(name, PASSED, PROPERTIES[name](subject))
    except NotTestedError as reason:
        return Result(name, NOT_TESTED, str(reason))
    except ViolationError as seen:
        return Result(name, FAILED, str(seen))
    except Exception as error:
        first_line = str(error).partition("\n")[0]
        return Result(name, FAILED, f"{type(error).__name__}: {first_line}", error)
