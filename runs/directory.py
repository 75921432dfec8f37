"""A run directory: one folder per run, with everything needed to read, resume or repeat it.

config.json       the complete config, with the preset's name and the versions of the libraries
metrics.jsonl     the metrics, one line per report
tensorboard/      the same metrics as TensorBoard events
checkpoints/      the latest checkpoints; in a supervised run, a folder for each net
evaluation.json   the result of the last evaluation
"""

import json
import platform
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from plasticrl.runs.errors import RunError
from plasticrl.runs.files import null_non_finite, read_bytes, write_json

FORMAT_VERSION = 3
LONGEST_PRESET = 100
CONFIG_NAME = "config.json"
EVALUATION_NAME = "evaluation.json"
_KEYS: dict[str, type] = {
    "kind": str,
    "preset": str,
    "config": dict,
    "dropped": dict,
    "versions": dict,
}
_JSON_NAMES = {str: "a string", dict: "an object", int: "an integer"}


@dataclass(frozen=True)
class RunDirectory:
    """An existing run, made by ``create`` or ``open``."""

    path: Path
    kind: str
    preset: str
    config: dict[str, Any]
    dropped: dict[str, Any]
    """Settings of the preset that lost their meaning when a flag changed another setting."""
    versions: dict[str, str]

    @classmethod
    def create(
        cls,
        path: str | Path,
        *,
        kind: str,
        preset: str,
        config: dict[str, Any],
        dropped: Mapping[str, Any] | None = None,
        versions: Mapping[str, str] | None = None,
    ) -> "RunDirectory":
        """Start a run in a new or empty folder and write its ``config.json``.

        Args:
            kind: the kind of the run, "rl" or "supervised".
            preset: the name of the preset.
            config: the complete config as JSON data; see ``to_dict``.
            dropped: see the attribute; as JSON data, by name.
            versions: versions of libraries besides plasticrl, torch, numpy and Python.

        Raises:
            RunError: the folder is not empty, or cannot be written.
        """
        all_versions = {**_versions(), **(versions or {})}
        run = cls(Path(path), kind, preset, config, dict(dropped or {}), all_versions)
        _make_empty_folder(run.path)
        contents = {name: getattr(run, name) for name in _KEYS}
        write_json(run.path / CONFIG_NAME, {"format_version": FORMAT_VERSION, **contents})
        return run

    def discard(self) -> None:
        """Remove the folder of a run that has not begun, so that its start can be repeated."""
        shutil.rmtree(self.path, ignore_errors=True)

    @contextmanager
    def discarded_on_error(self) -> Iterator[None]:
        """A context around the start of a run. After an error, the run is discarded."""
        try:
            yield
        except BaseException:
            self.discard()
            raise

    @classmethod
    def open(cls, path: str | Path) -> "RunDirectory":
        """Read the run in ``path``.

        Raises:
            RunError: there is no run, or its ``config.json`` is damaged or of another format.
        """
        path = Path(path)
        if not path.exists():
            raise RunError(f"run directory {path} does not exist")
        if not path.is_dir():
            raise RunError(f"{path} is a file, not a run directory (a folder with a {CONFIG_NAME})")
        file = path / CONFIG_NAME
        if not file.exists():
            inside = sorted(found.parent for found in path.glob(f"*/{CONFIG_NAME}"))
            hint = f"; it contains run directories: name one, such as {inside[0]}" if inside else ""
            raise RunError(f"{path} is not a run directory: it has no {CONFIG_NAME}{hint}")
        contents = _checked(_read_object(file), file)
        return cls(path, **{name: contents[name] for name in _KEYS})

    @property
    def metrics_path(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def tensorboard_path(self) -> Path:
        return self.path / "tensorboard"

    @property
    def checkpoints_path(self) -> Path:
        return self.path / "checkpoints"

    @property
    def evaluation_path(self) -> Path:
        return self.path / EVALUATION_NAME

    def read_evaluation(self) -> dict[str, Any]:
        """Read ``evaluation.json``.

        Raises:
            RunError: the file does not exist yet, or is damaged.
        """
        file = self.evaluation_path
        if not file.exists():
            raise RunError(f"{self.path} has no {EVALUATION_NAME} yet: its training has not ended")
        return _read_object(file)

    def write_evaluation(self, evaluation: dict[str, Any]) -> None:
        """Write ``evaluation.json``, replacing an older one; non-finite floats become null."""
        write_json(self.evaluation_path, null_non_finite(evaluation))


def _versions() -> dict[str, str]:
    # The packages are not imported, because importing torch takes a second.
    installed = {name: version(name) for name in ("plasticrl", "torch", "numpy")}
    return {**installed, "python": platform.python_version()}


def check_empty(path: Path) -> None:
    """Raise ``RunError`` if there is a file or a folder with contents in the place of a run."""
    if path.exists():
        _make_empty_folder(path)


def _make_empty_folder(path: Path) -> None:
    try:
        str(path).encode()  # TensorBoard needs names in UTF-8
        path.mkdir(parents=True, exist_ok=True)
        occupied = any(path.iterdir())
    except FileExistsError as error:
        raise RunError(f"cannot start a run in {path}: it is a file; choose a folder") from error
    except UnicodeEncodeError as error:
        raise RunError(f"cannot start a run in {path}: its name is not valid UTF-8") from error
    except OSError as error:
        raise RunError(f"cannot start a run in {path}: {error.strerror or error}") from error
    if occupied:
        raise RunError(f"{path} is not empty: choose another folder, or resume its run")


def _read_object(file: Path) -> dict[str, Any]:
    text = read_bytes(file)
    try:
        contents = json.loads(text)
    # RecursionError: the brackets are nested too deeply for the parser.
    except (ValueError, RecursionError) as error:
        raise RunError(f"{file} is not valid JSON: {error}") from error
    if not isinstance(contents, dict):
        raise RunError(f"{file} must hold a JSON object, not {type(contents).__name__}")
    return contents


def _checked(contents: dict[str, Any], file: Path) -> dict[str, Any]:
    """Return ``contents`` if every key has the right type and the format version is supported."""
    _check_key(contents, "format_version", int, file)
    found = contents["format_version"]
    if found != FORMAT_VERSION:
        way_out = (
            "upgrade plasticrl"
            if found > FORMAT_VERSION
            else "use the version of plasticrl that the file names, or train again"
        )
        raise RunError(
            f"{file} has format {found}, this plasticrl reads format {FORMAT_VERSION}: {way_out}"
        )
    for name, expected in _KEYS.items():
        _check_key(contents, name, expected, file)
    preset = contents["preset"]
    if not preset.isprintable() or len(preset) > LONGEST_PRESET:
        raise RunError(
            f"{file}: preset must be at most {LONGEST_PRESET} printable characters, "
            f"not {len(preset)} characters that begin with {preset[:20]!r}"
        )
    return contents


def _check_key(contents: dict[str, Any], name: str, expected: type, file: Path) -> None:
    if name not in contents:
        raise RunError(f"{file} has no key {name!r}; is it a plasticrl run?")
    if type(contents[name]) is not expected:
        raise RunError(f"{file}: {name} must be {_JSON_NAMES[expected]}, not {contents[name]!r}")
