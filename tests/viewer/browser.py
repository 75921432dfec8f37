"""A headless Chromium, which is controlled through the pipe of its DevTools protocol."""

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
TIMEOUT = 60.0
"""Seconds after which a browser that does not answer is an error."""

_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--hide-scrollbars", "--remote-debugging-pipe",
)  # fmt: skip
_ON_PIPES = (  # Chromium reads commands from file 3 and writes to file 4
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); "
    "os.execv(sys.argv[3], sys.argv[3:])"
)
_KEYS = {
    " ": ("Space", 32),
    "ArrowLeft": ("ArrowLeft", 37),
    "ArrowRight": ("ArrowRight", 39),
    "Home": ("Home", 36),
    "End": ("End", 35),
    "ArrowUp": ("ArrowUp", 38),
    "ArrowDown": ("ArrowDown", 40),
    "Enter": ("Enter", 13),
    "a": ("KeyA", 65),
    "m": ("KeyM", 77),
    "n": ("KeyN", 78),
    "w": ("KeyW", 87),
}


def find() -> str | None:
    """Return the path of a Chromium, or None if there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@contextmanager
def one_browser(profile: Path) -> Iterator["Browser"]:
    """Yield a browser; skip the test without one, or with PLASTICRL_REQUIRE_BROWSER fail it."""
    executable = find()
    if executable is None:
        if os.environ.get("PLASTICRL_REQUIRE_BROWSER"):
            pytest.fail("no Chromium here, and PLASTICRL_REQUIRE_BROWSER asks for one")
        pytest.skip("no Chromium here to open the page in")
    with Browser(executable, profile) as browser:
        yield browser


class Browser:
    """One page in a separate browser.

    Attributes:
        complaints: errors and warnings of the page's console, and exceptions that nobody caught.
        requests: every address that was asked for.
    """

    def __init__(self, executable: str, profile: Path) -> None:
        commands, self._commands = os.pipe()
        self._answers, answers = os.pipe()
        flags = [*_FLAGS, f"--user-data-dir={profile}", "about:blank"]
        start = [sys.executable, "-c", _ON_PIPES, str(commands), str(answers), executable, *flags]
        self._process = subprocess.Popen(
            start,
            pass_fds=(commands, answers),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(commands)
        os.close(answers)
        self._unread = b""
        self._count = self._loads = 0
        self._session: str | None = None
        self.complaints: list[str] = []
        self.requests: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._session = None
        self.call("Browser.close")
        self._process.wait(TIMEOUT)
        os.close(self._commands)
        os.close(self._answers)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send one command of the protocol and return its answer."""
        self._count += 1
        command: dict[str, Any] = {"id": self._count, "method": method, "params": params}
        if self._session is not None:
            command["sessionId"] = self._session
        os.write(self._commands, json.dumps(command).encode() + b"\0")
        while (message := self._receive()).get("id") != self._count:
            self._note(message)
        if "error" in message:
            raise RuntimeError(f"{method}: {message['error']['message']}")
        result: dict[str, Any] = message["result"]
        return result

    def open(self, address: str, width: int = 1280, height: int = 800, dark: bool = False) -> None:
        """Load a page in a window of this size, and wait until it is drawn."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.resize(width, height)
        self.go("about:blank")  # a change of #... alone would not load
        self.complaints.clear()
        self.requests.clear()
        self.go(address)
        self.wait("document.documentElement.dataset.ready === 'true'")

    def go(self, address: str) -> None:
        """Load a page and everything that it requests."""
        before = self._loads
        self.call("Page.navigate", url=address)

        def loaded() -> bool:
            self.call("Page.getFrameTree")  # events come with answers
            return self._loads > before

        _until(loaded, f"{address} is loaded")

    def resize(self, width: int, height: int) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)

    def value(self, script: str) -> Any:
        """Return the value of an expression of the page's script."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{script}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def text(self, selector: str) -> str:
        return str(self.value(f"document.querySelector({selector!r}).textContent"))

    def wait(self, script: str) -> None:
        """Wait until an expression is true."""
        _until(lambda: bool(self.value(script)), script)

    def press(self, key: str, shift: bool = False) -> None:
        code, number = _KEYS[key]
        event = {
            "key": key,
            "code": code,
            "windowsVirtualKeyCode": number,
            "modifiers": 8 if shift else 0,
        }
        text = {"text": key} if len(key) == 1 else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", **event, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", **event)

    def point(self, selector: str, across: float = 0.5, down: float = 0.5) -> dict[str, Any]:
        """Move the mouse over an element, to these shares of its width and height."""
        box = self.value(
            f"(() => {{ const element = document.querySelector({selector!r});"
            "element.scrollIntoView({block: 'center'});"
            "const box = element.getBoundingClientRect();"
            "return [box.x, box.y, box.width, box.height]; })()"
        )
        mouse = {"x": box[0] + across * box[2], "y": box[1] + down * box[3]}
        self.call("Input.dispatchMouseEvent", type="mouseMoved", **mouse)
        return mouse

    def click(self, selector: str, across: float = 0.5, down: float = 0.5) -> None:
        """Click an element at these shares of its width and height."""
        mouse = self.point(selector, across, down) | {"button": "left", "clickCount": 1}
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, **mouse)

    def screenshot(self) -> bytes:
        """Return a picture of the window as PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._unread:
            if not select.select([self._answers], [], [], TIMEOUT)[0]:
                raise TimeoutError("the browser does not answer")
            if not (piece := os.read(self._answers, 1 << 20)):
                raise RuntimeError("the browser has ended")
            self._unread += piece
        first, _, self._unread = self._unread.partition(b"\0")
        message: dict[str, Any] = json.loads(first)
        return message

    def _note(self, event: dict[str, Any]) -> None:
        params = event.get("params", {})
        match event.get("method"):
            case "Page.loadEventFired":
                self._loads += 1
            case "Network.requestWillBeSent":
                self.requests.append(params["request"]["url"])
            case "Runtime.exceptionThrown":
                self.complaints.append(str(params["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if params["type"] in ("error", "warning"):
                self.complaints.append(str(params["args"]))
            case "Log.entryAdded" if params["entry"]["level"] in ("error", "warning"):
                self.complaints.append(params["entry"]["text"])


def _until(done: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not in {TIMEOUT:.0f} seconds: {what}")
        time.sleep(0.02)
