"""The global random number generators of Python, NumPy and torch, CUDA devices included."""

import random
from typing import Any

import numpy as np
import torch

from plasticrl.runs.errors import RunError
from plasticrl.runs.matching import check_like


def get_rng_state() -> dict[str, Any]:
    """Return the states of all global generators, in types that a checkpoint can hold."""
    version, words, gauss = random.getstate()
    numpy_state: Any = np.random.get_state(legacy=False)  # noqa: NPY002  the global generator
    return {
        "python": {"version": version, "words": torch.tensor(words), "gauss": gauss},
        "numpy": {
            "bit_generator": numpy_state["bit_generator"],
            "key": torch.from_numpy(numpy_state["state"]["key"].astype(np.int64)),
            "pos": numpy_state["state"]["pos"],
            "has_gauss": numpy_state["has_gauss"],
            "gauss": numpy_state["gauss"],
        },
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_rng_state(state: dict[str, Any]) -> None:
    """Restore the states that ``get_rng_state`` returned.

    The generators of CUDA devices that ``state`` does not include stay unchanged. States of CUDA
    devices that this machine does not have are ignored.

    Raises:
        RunError: ``state`` is malformed. No generator has then changed.
    """
    try:
        python_state = _python_state(state["python"])
        check_like(state["numpy"]["key"], torch.zeros(624, dtype=torch.int64), "numpy.key")
        numpy_state = _numpy_state(state["numpy"])
        cuda_states = state["cuda"][: torch.cuda.device_count()]
        # Temporary generators test the state first, so that a malformed one changes nothing.
        random.Random().setstate(python_state)
        np.random.RandomState().set_state(numpy_state)
        torch.Generator().set_state(state["torch"])
        for index, cuda_state in enumerate(cuda_states):
            torch.Generator(device=f"cuda:{index}").set_state(cuda_state)
    except RunError:
        raise
    except (
        AttributeError,
        KeyError,
        OverflowError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        raise RunError(f"the random-number state is malformed: {error!r}") from error
    random.setstate(python_state)
    np.random.set_state(numpy_state)  # noqa: NPY002  the global generator
    torch.set_rng_state(state["torch"])
    for index, cuda_state in enumerate(cuda_states):
        torch.cuda.set_rng_state(cuda_state, index)


def _python_state(state: dict[str, Any]) -> tuple[Any, ...]:
    return state["version"], tuple(state["words"].tolist()), state["gauss"]


def _numpy_state(state: dict[str, Any]) -> dict[str, Any]:
    return {
        "bit_generator": state["bit_generator"],
        # NumPy rejects numbers that are out of range only in a list.
        "state": {"key": np.array(state["key"].tolist(), dtype=np.uint32), "pos": state["pos"]},
        "has_gauss": state["has_gauss"],
        "gauss": state["gauss"],
    }
