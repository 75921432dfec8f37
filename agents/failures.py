"""Reports errors of users' environments in one sentence that names the environment."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import connection
from typing import Any, NoReturn, Protocol, TypeVar

from stable_baselines3.common.vec_env import SubprocVecEnv, VecEnv

from plasticrl.agents.vec_env import BatchVecEnv
from plasticrl.envs import SingleEnv
from plasticrl.runs import UserCodeError


class _Closable(Protocol):
    def close(self) -> None: ...


EnvT = TypeVar("EnvT", bound=_Closable)


@contextmanager
def environment_errors(env: Any) -> Iterator[None]:
    """A context around a call of an environment; see ``raise_environment_error``."""
    try:
        yield
    except (Exception, SystemExit) as error:
        raise_environment_error(env, error)


@contextmanager
def closed_on_error(env: EnvT) -> Iterator[EnvT]:
    """A context that closes an environment after an error. An error of ``close`` is then ignored.

    Args:
        env: a ``VecEnv`` or a Gymnasium environment.
    """
    try:
        yield env
    except BaseException:
        with suppress(Exception, SystemExit):
            env.close()
        raise


@contextmanager
def closing_env(env: EnvT) -> Iterator[EnvT]:
    """A context that closes an environment at its end; see ``closed_on_error``.

    Raises:
        UserCodeError: the environment is the user's, and its ``close`` failed.
    """
    with closed_on_error(env):
        yield env
    with environment_errors(env):
        env.close()


def raise_environment_error(env: Any, error: BaseException) -> NoReturn:
    """Raise an error of an environment again, unchanged if the environment is of this package.

    Args:
        env: a ``VecEnv`` or a Gymnasium environment.
        error: the error that it raised.

    Raises:
        UserCodeError: the environment is the user's and failed, tried to end the program, or its
            process has ended. The error is its cause, but for a process, which leaves none.
    """
    if isinstance(env.unwrapped, BatchVecEnv | SingleEnv):
        raise error
    if isinstance(env.unwrapped, SubprocVecEnv) and (ended := _ended(env.unwrapped)):
        raise UserCodeError(f"the process of environment {ended[0]} has ended") from None
    what = "tried to end the program" if isinstance(error, SystemExit) else "failed"
    raise UserCodeError(f"{_describe_env(env, error)} {what}: {summary(error)}") from error


def summary(error: BaseException) -> str:
    """The class and the message of an error, in one line."""
    try:
        text = " ".join(str(error).split())
    except Exception:  # __str__ of a user's error class failed
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _describe_env(env: Any, error: BaseException) -> str:
    """The environment's index, and its id or class if it is known."""
    base = env.unwrapped
    if isinstance(base, SubprocVecEnv):
        return "an environment"
    envs = getattr(base, "envs", None)
    if envs is None:
        return _env_id(base)
    number = _env_index(error)
    return "an environment" if number is None else f"environment {number} ({_env_id(envs[number])})"


def _ended(env: SubprocVecEnv) -> list[int]:
    """The numbers of the environments whose processes have ended."""
    # The pipe is closed a moment before the process has ended.
    ended = connection.wait([process.sentinel for process in env.processes], timeout=1)
    return [n for n, process in enumerate(env.processes) if process.sentinel in ended]


def _env_index(error: BaseException) -> int | None:
    """The index of the environment that ``DummyVecEnv`` was calling, from the traceback."""
    trace = error.__traceback__
    while trace is not None:
        number = trace.tb_frame.f_locals.get("env_idx")
        if isinstance(number, int):
            return number
        trace = trace.tb_next
    return None


def is_raised_by_reset(error: BaseException) -> bool:
    """Whether an error comes from the ``reset`` of a ``VecEnv``."""
    trace = error.__traceback__
    while trace is not None:
        frame = trace.tb_frame
        if frame.f_code.co_name == "reset" and isinstance(frame.f_locals.get("self"), VecEnv):
            return True
        trace = trace.tb_next
    return False


def _env_id(env: Any) -> str:
    spec = getattr(env, "spec", None)
    return str(spec.id) if spec is not None else type(env.unwrapped).__name__
