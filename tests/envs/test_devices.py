"""Torch tensors on a device: the same episodes as numpy's, and steps that do not wait for it.

No GPU is needed: torch's device "meta" has shapes and no data, so that code that reads a
value, or mixes in an array of another device, raises an error.
"""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.error import InvalidAction, ResetNeeded
from gymnasium.vector import AutoresetMode
from tests.envs.test_every_env import N_ROWS, actions, all_cases, all_ids
from torch.utils._python_dispatch import TorchDispatchMode

from plasticrl.envs import CueRewardBatch
from plasticrl.envs.batch import State, Transition

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def make(env_id: str, device: str | None = "cpu", **options: Any) -> Any:
    return gym.make_vec(
        env_id,
        num_envs=N_ROWS,
        autoreset_mode=AutoresetMode.SAME_STEP,
        device=device,
        **options,
    )


def assert_bits(ours: Any, theirs: Any, where: str) -> None:
    """Check that a tensor has the dtype, the shape and the bits of an array."""
    assert isinstance(ours, torch.Tensor), where
    host = ours.cpu().numpy()
    assert (host.dtype, host.shape) == (theirs.dtype, theirs.shape), where
    assert host.tobytes() == theirs.tobytes(), where


def assert_same_state(ours: Any, theirs: Any, where: str) -> None:
    assert ours.keys() == theirs.keys()
    for name, leaf in theirs.items():
        assert isinstance(ours[name], np.ndarray)
        assert ours[name].dtype == leaf.dtype, name
        assert ours[name].tobytes() == leaf.tobytes(), f"{where} {name}"


def tensors(batch: Any, seed: int, steps: int) -> Any:
    return torch.from_numpy(actions(batch, seed, steps)).to(batch.device)


def leaves(state: State[Any]) -> list[torch.Tensor]:
    return [*state.rows, *state.world]


@pytest.mark.parametrize("device", DEVICES)
@all_ids
def test_a_device_keeps_the_limit_of_steps(env_id: str, device: str) -> None:
    """Otherwise an episode on a GPU continues where one in NumPy is truncated."""
    batch = make(env_id, device, max_episode_steps=3)
    batch.reset(seed=7)
    truncated = [batch.step(action)[3].tolist() for action in tensors(batch, 0, 6)]
    assert truncated == [[False] * N_ROWS, [False] * N_ROWS, [True] * N_ROWS] * 2


@pytest.mark.parametrize("device", DEVICES)
def test_an_option_changes_in_some_rows_on_a_device(device: str) -> None:
    """Otherwise rows of a batch on a GPU would have other options than in numpy."""
    host, batch = (make("plasticrl/CueReward-v0", one, n_cues=2) for one in (None, device))
    for env in (host, batch):
        env.reset(seed=7)
        env.reset(options={"n_cues": 3, "reset_mask": np.arange(N_ROWS) < 2})
        env.set_n_cues(4, np.arange(N_ROWS) == 1)
        assert env.get_state()["n_cues"].tolist() == [3, 3, 2, 2, 2]
        env.reset()
        assert env.get_state()["n_cues"].tolist() == [3, 4, 2, 2, 2]
    assert_same_state(batch.get_state(), host.get_state(), "options")


@pytest.mark.parametrize("device", DEVICES)
@all_cases
def test_a_device_plays_numpys_episodes_bit_for_bit(
    env_id: str, options: dict[str, Any], device: str
) -> None:
    """Otherwise a run on a GPU would be another experiment than one in numpy."""
    host, batch = make(env_id, None, **options), make(env_id, device, **options)
    assert_bits(batch.reset(seed=7)[0], host.reset(seed=7)[0], "reset")
    ended = np.zeros(N_ROWS, dtype=np.int64)
    for step, action in enumerate(actions(batch, 0, 4 * options["episode_length"])):
        *theirs, expected = host.step(action)
        *ours, info = batch.step(torch.from_numpy(action).to(device))
        for name, mine, other in zip(
            ("observation", "reward", "terminated", "truncated"), ours, theirs, strict=True
        ):
            assert_bits(mine, other, f"step {step} {name}")
        done = theirs[2] | theirs[3]
        ended += done
        assert_bits(info["_final_obs"], done, "_final_obs")
        for row in np.flatnonzero(done):
            assert_bits(info["final_obs"][row], expected["final_obs"][row], f"step {step} final")
        for name, value in expected.get("final_info", {}).items():
            assert_bits(info["final_info"][name], value, f"step {step} {name}")
        if step in (4, 30):
            mask = {"reset_mask": np.arange(N_ROWS) % 2 == (step == 30)}
            theirs_now = host.reset(options=mask)[0]
            assert_bits(batch.reset(options=mask)[0], theirs_now, "mask")
        assert_same_state(batch.get_state(), host.get_state(), f"step {step}")
    assert ended.min() >= 3


@all_cases
def test_a_saved_state_moves_between_numpy_and_a_device(
    env_id: str, options: dict[str, Any]
) -> None:
    """Otherwise a run that began on a GPU could not be continued on another machine."""
    host, batch = make(env_id, None, **options), make(env_id, **options)
    host.reset(seed=1)
    for action in actions(host, 0, 9):
        host.step(action)
    batch.set_state(host.get_state())
    for action in actions(host, 1, 30):
        assert_bits(batch.step(torch.from_numpy(action))[0], host.step(action)[0], "there")
    host.set_state(batch.get_state())
    for action in actions(host, 2, 30):
        assert_bits(batch.step(torch.from_numpy(action))[0], host.step(action)[0], "and back")


class NoMasks(TorchDispatchMode):
    """Refuse indexing with a mask, whose number of true entries only the device knows."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket in (torch.ops.aten.index, torch.ops.aten.index_put_):
            assert all(one is None or one.dtype == torch.int64 for one in args[1]), func
        return func(*args, **(kwargs or {}))


@all_cases
def test_a_transition_never_waits_for_the_device(env_id: str, options: dict[str, Any]) -> None:
    """Otherwise a step would wait for the host, and no graph could capture it."""
    batch = make(env_id, "meta", **options)
    action = torch.zeros(N_ROWS, dtype=torch.int64, device="meta")
    with NoMasks():
        state, result = batch.transition(batch.state, action)
    expected = leaves(batch.state)
    for leaf, before in zip(leaves(state), expected, strict=True):
        assert (leaf.device.type, leaf.dtype, leaf.shape) == ("meta", before.dtype, before.shape)
    assert {array.device.type for array in result[:6]} == {"meta"}
    assert {array.shape for array in result.final_info.values()} <= {(N_ROWS,)}


@pytest.mark.parametrize(
    "wait",
    [
        lambda x: bool((x > 0).any()),
        lambda x: x.max().item(),
        lambda x: x[x > 0],
        lambda x: x.masked_fill_(x > 0, 1).index_put_((x > 0,), x[0]),
        lambda x: x.nonzero(),
        lambda x: x.cpu(),
        lambda x: x.tolist(),
        lambda x: x + torch.arange(4),
    ],
)
def test_the_test_before_this_one_sees_it(wait: Any) -> None:
    with NoMasks(), pytest.raises((AssertionError, RuntimeError, NotImplementedError)):
        wait(torch.zeros(4, device="meta"))


@pytest.mark.parametrize("device", [None, "cpu"])
@all_cases
def test_a_transition_is_a_pure_function(
    env_id: str, options: dict[str, Any], device: str | None
) -> None:
    """Otherwise a transition would depend on more than state and action, or change one of them."""

    def bits(value: Any) -> Any:
        if isinstance(value, tuple | dict):
            parts = value.values() if isinstance(value, dict) else value
            return [bits(part) for part in parts]
        return np.asarray(value).tobytes()

    batch = make(env_id, device, **options)
    batch.reset(seed=2)
    path = []
    for action in actions(batch, 0, 2 * options["episode_length"] + 3):
        before = batch.state if not path else path[-1][2][0]
        chosen = action if device is None else torch.from_numpy(action)
        kept, attributes = bits((before, chosen)), dict(vars(batch))
        result = batch.transition(before, chosen)
        assert isinstance(result[1], Transition)
        assert all(vars(batch)[name] is value for name, value in attributes.items())
        assert bits((before, chosen)) == kept
        path.append((before, chosen, result, bits(result)))
    for before, chosen, _, kept in reversed(path):
        assert bits(batch.transition(before, chosen)) == kept
    for _, chosen, (after, expected), _ in path:
        assert bits(batch.step(chosen)[:4]) == bits(expected[:4])
        assert bits(batch.state) == bits(after)


@all_cases
def test_no_two_arrays_of_a_devices_state_are_one(env_id: str, options: dict[str, Any]) -> None:
    """Otherwise two leaves would share memory, and a copy into one would overwrite the other."""
    batch = make(env_id, **options)
    batch.reset(seed=0)
    for action in tensors(batch, 0, 3):
        places = [leaf.data_ptr() for leaf in leaves(batch.state)]
        assert len(set(places)) == len(places)
        batch.step(action)


@all_ids
def test_what_a_device_gave_is_the_callers(env_id: str) -> None:
    """Otherwise writing into the action or the arrays of step changes the episode."""
    one, other = make(env_id, episode_length=7), make(env_id, episode_length=7)
    one.reset(seed=0)
    other.reset(seed=0)[0][:] = 9
    for action in tensors(one, 0, 20):
        mine = action.clone()
        results, expected = other.step(mine), one.step(action)
        for ours, theirs in zip(results[:4], expected[:4], strict=True):
            assert torch.equal(ours, theirs)
        for array in (mine, *results[:4], results[4]["final_obs"]):
            array[:] = 1


@all_ids
def test_views_are_numpys(env_id: str) -> None:
    """Otherwise pictures and properties of a batch on a device would not be numpy arrays."""
    pictures = []
    for device in (None, "cpu"):
        batch = make(env_id, device, render_mode="rgb_array")
        batch.reset(seed=3)
        for action in actions(batch, 0, 6):
            batch.step(action if device is None else torch.from_numpy(action))
        names = {name for name, kind in vars(type(batch)).items() if isinstance(kind, property)}
        assert type(batch.scene(0).grid) is np.ndarray
        assert all(isinstance(getattr(batch, name), np.ndarray) for name in names)
        pictures.append(batch.render())
    for mine, other in zip(*pictures, strict=True):
        np.testing.assert_array_equal(mine, other)


def test_a_curriculum_moves_on_a_device() -> None:
    """Otherwise a batch cannot have more cues than at its start, or than in a loaded state."""
    made: list[Any] = []
    for device in (None, "cpu"):
        batch = CueRewardBatch(
            N_ROWS, n_cues=2, episode_length=11, autoreset_mode="SameStep", device=device
        )
        batch.reset(seed=0)
        batch.set_n_cues(5)
        if device is not None:
            batch = CueRewardBatch(N_ROWS, n_cues=2, autoreset_mode="SameStep", device=device)
            batch.episode_length = 11
            batch.set_state(made[0].get_state())
        made.append(batch)
    for action in actions(made[0], 0, 40):
        observation = made[0].step(action)[0]
        assert_bits(made[1].step(torch.from_numpy(action))[0], observation, "step")
    assert made[1].state.world.n_cues.tolist() == [5] * N_ROWS


@all_ids
@pytest.mark.parametrize("device", ["cuda:99", "abacus", ""])
def test_a_device_that_is_not_there(env_id: str, device: str) -> None:
    with pytest.raises(ValueError, match=f"device must be.*'{device}'") as caught:
        make(env_id, device)
    assert "\n" not in str(caught.value)


@all_ids
@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED])
def test_another_autoreset_mode_needs_numpy(env_id: str, mode: AutoresetMode) -> None:
    with pytest.raises(ValueError, match=r"autoreset_mode must be.*SAME_STEP.*device='cpu'"):
        gym.make_vec(env_id, num_envs=2, autoreset_mode=mode, device="cpu")


@all_ids
@pytest.mark.parametrize(
    ("action", "right"),
    [
        (np.zeros(N_ROWS, dtype=np.int64), "tensor on cpu"),
        ([0] * N_ROWS, "tensor on cpu"),
        (torch.zeros(N_ROWS, dtype=torch.int64, device="meta"), "tensor on cpu"),
        (torch.zeros(N_ROWS), r"integers of shape \(5,\)"),
        (torch.zeros(N_ROWS, dtype=torch.bool), r"integers of shape \(5,\)"),
        (torch.zeros(N_ROWS - 1, dtype=torch.int64), r"integers of shape \(5,\)"),
        (torch.zeros(N_ROWS, 1, dtype=torch.int64), r"integers of shape \(5,\)"),
    ],
    ids=["numpy", "list", "device", "float", "bool", "rows", "ndim"],
)
def test_bad_actions_on_a_device(env_id: str, action: Any, right: str) -> None:
    batch = make(env_id)
    batch.reset(seed=0)
    with pytest.raises(InvalidAction, match=right):
        batch.step(action)


@all_ids
def test_a_device_needs_a_reset_too(env_id: str) -> None:
    batch = make(env_id)
    with pytest.raises(ResetNeeded, match="call reset before step"):
        batch.step(torch.zeros(N_ROWS, dtype=torch.int64))


@all_ids
def test_narrow_integers_are_actions_too(env_id: str) -> None:
    one, other = make(env_id), make(env_id)
    one.reset(seed=0)
    other.reset(seed=0)
    for action in tensors(one, 0, 5):
        assert torch.equal(one.step(action)[0], other.step(action.to(torch.int32))[0])
