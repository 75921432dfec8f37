"""The table of ``benchmarks.learning``, from learning curves made by hand."""

from typing import Any

from benchmarks.learning import report


def run(algorithm: str, seed: int, *curve: tuple[int, float, float]) -> dict[str, Any]:
    return {
        "environment": "CartPole-v1",
        "algorithm": algorithm,
        "seed": seed,
        "seconds": 60.0,
        "curve": list(curve),
    }


def cells(runs: list[dict[str, Any]]) -> dict[str, dict[str, str]]:
    """The table's cells, by what the rows compare at and by algorithm."""
    head, _, *rows = [
        [cell.strip() for cell in row.strip("|").split("|")] for row in report(runs).splitlines()
    ]
    return {row[1]: dict(zip(head[2:], row[2:], strict=True)) for row in rows}


def test_rewards_are_compared_at_equal_steps_and_at_equal_seconds() -> None:
    table = cells(
        [
            run("SB3 A2C", 0, (1000, 1.0, 20.0), (5000, 5.0, 100.0), (60_000, 60.0, 500.0)),
            run("SB3 A2C", 1, (1000, 1.0, 30.0), (5000, 5.0, 200.0), (60_000, 60.0, 400.0)),
            run("SB3 A2C", 2, (1000, 1.0, 10.0), (5000, 5.0, 300.0), (60_000, 60.0, 460.0)),
            run("RecurrentPPO", 0, (1000, 10.0, 50.0), (5500, 60.0, 90.0)),
        ]
    )
    assert table["5,500 steps"]["SB3 A2C"] == "200 (100 to 300)"
    assert table["60 s"]["SB3 A2C"] == "**460 (400 to 500)**"  # 450 is learned
    assert table["60 s"]["RecurrentPPO"] == "90 (90 to 90)"
    assert "SB3 PPO" not in table["60 s"]
    assert table["seconds to 450"] == {"SB3 A2C": "60, -, 60", "RecurrentPPO": "-"}


def test_a_later_reward_does_not_stand_for_an_earlier_one() -> None:
    table = cells(
        [
            run("SB3 PPO", 0, (8000, 1.0, 300.0), (90_000, 60.0, 400.0)),
            run("RecurrentPPO", 0, (1000, 10.0, 50.0), (4800, 60.0, 90.0)),
            run("RecurrentA2C", 0),  # not one episode ended
        ]
    )
    assert table["4,800 steps"]["SB3 PPO"] == "-"
    assert table["4,800 steps"]["RecurrentPPO"] == "90 (90 to 90)"
    assert table["60 s"]["RecurrentA2C"] == "-"
