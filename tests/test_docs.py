"""The documentation: links lead somewhere, and programs print what their comments say."""

import os
import re
import shlex
import subprocess
import sys
from importlib import import_module
from inspect import Parameter, signature
from pathlib import Path

import pytest
from stable_baselines3 import A2C, PPO

from plasticrl.agents import RecurrentA2C, RecurrentPPO

ROOT = Path(__file__).parent.parent
TEXTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("results/**/*.md")]
TUTORIALS = sorted(ROOT.glob("docs/tutorials/*.md"))
PRINTED = re.compile(r"^ *print\(.*\)  # (.*)$", re.M)
SB3_GUIDE = (ROOT / "docs" / "sb3.md").read_text()
SECTIONS = re.split(r"^## ", SB3_GUIDE, flags=re.M)[1:]
PROGRAMS = [
    pytest.param(program, id=f"{section.splitlines()[0]} {number}")
    for section in SECTIONS
    for number, program in enumerate(re.findall(r"```python\n(.*?)```", section, re.S), 1)
]


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: str(text.relative_to(ROOT)))
def test_links_lead_somewhere(text: Path) -> None:
    """Otherwise a reader looks at a missing picture, or for a page that was renamed."""
    content = text.read_text()
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", content)
    links += re.findall(r'(?:src|srcset)="(.*?)"', content)
    missing = [link for link in links if "://" not in link and not (text.parent / link).exists()]
    assert not missing


@pytest.mark.filterwarnings("ignore:each observation is treated as the first:UserWarning")
@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_prints_what_its_comments_say(
    program: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Otherwise a reader of docs/sb3.md copies a program that fails, or reads a wrong result."""
    monkeypatch.chdir(tmp_path)
    exec(program, {"__name__": "__main__"})
    assert capsys.readouterr().out.splitlines() == PRINTED.findall(program)


@pytest.mark.slow
@pytest.mark.parametrize("tutorial", TUTORIALS, ids=lambda tutorial: tutorial.stem)
def test_a_tutorial_runs_from_its_first_line_to_its_last(
    tutorial: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Otherwise a reader who types all of it ends with an error, or with another result."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    names = {"__name__": "__main__"}
    blocks = re.findall(r"```(python|sh)\n(.*?)```", tutorial.read_text(), re.S)
    for language, block in blocks:
        if language == "python":
            exec(block, names)
            assert capsys.readouterr().out.splitlines() == PRINTED.findall(block)
        else:
            done = subprocess.run(["sh", "-ec", block], capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{block}\n{done.stderr}"
    assert blocks


@pytest.mark.slow
def test_the_commands_for_rl_zoo3_train_continue_evaluate_and_film(tmp_path: Path) -> None:
    """Otherwise a reader of docs/rl_zoo3.md saves its files, and a command fails."""
    guide = (ROOT / "docs" / "rl_zoo3.md").read_text()
    for language, name in {"python": "zoo.py", "yaml": "recurrent.yml"}.items():
        [content] = re.findall(rf"```{language}\n(.*?)```", guide, re.S)
        (tmp_path / name).write_text(content)
    [commands] = re.findall(r"```sh\n(.*?)```", guide, re.S)
    printed = ""
    for command in commands.splitlines():
        arguments = [sys.executable, *shlex.split(command)[1:]]
        done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        printed += done.stdout
    assert "Loading pretrained agent" in printed
    assert "Mean reward: " in printed
    saved = {str(path.relative_to(tmp_path / "logs")) for path in tmp_path.rglob("logs/*/*/*.zip")}
    assert saved == {
        "recurrent_ppo/plasticrl-GridMaze-v0_1/best_model.zip",
        "recurrent_ppo/plasticrl-GridMaze-v0_1/plasticrl-GridMaze-v0.zip",
        "recurrent_ppo/plasticrl-GridMaze-v0_2/plasticrl-GridMaze-v0.zip",
        "recurrent_a2c/CartPole-v1_1/CartPole-v1.zip",
    }
    [film] = (tmp_path / "videos").iterdir()
    assert film.stat().st_size > 0


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    """Otherwise a page is in no table of contents, a link is dead, or a docstring is garbled."""
    sphinx = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet"]
    done = subprocess.run(
        [*sphinx, "--conf-dir", "docs", ".", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for package in ("core", "envs", "agents", "runs", "viewer"):
        page = (tmp_path / "docs" / "api" / f"{package}.html").read_text()
        documented = set(re.findall(rf'id="plasticrl\.{package}\.(\w+)"', page))
        assert documented == set(import_module(f"plasticrl.{package}").__all__)
        assert "<p>##" not in page


def test_the_table_has_all_defaults_that_differ() -> None:
    """Otherwise a user of SB3 trains with another setting than the table says."""
    algorithms = (A2C, RecurrentA2C, PPO, RecurrentPPO)
    defaults = [signature(algorithm).parameters for algorithm in algorithms]
    not_listed = ("use_sde", "sde_sample_freq", "rollout_buffer_class", "rollout_buffer_kwargs")

    def row(option: str) -> tuple[str, ...]:
        missing = Parameter(option, Parameter.KEYWORD_ONLY, default="-")
        values = [own.get(option, missing).default for own in defaults]
        return tuple(value if value == "-" else repr(value) for value in values)

    options = dict.fromkeys(option for own in defaults for option in own)
    expected = {
        option: row(option)
        for option in options
        if option not in not_listed and (len({*row(option)[:2]}) > 1 or len({*row(option)[2:]}) > 1)
    }
    [section] = (part for part in SECTIONS if part.startswith("Defaults"))
    lines = re.findall(r"^\| `(\w+)` \| (.*) \|$", section, re.M)
    assert {option: tuple(cells.split(" | ")) for option, cells in lines} == expected
