"""The pictures of the pages in docs/, 1280 x 800, of a step of a page:

python -m tests.viewer.screenshots report REPORT.html STEP    docs/report-light.png, -dark.png
python -m tests.viewer.screenshots live LIVE.html STEP        docs/live-light.png, -dark.png
"""

import sys
import tempfile
from io import BytesIO
from pathlib import Path

from PIL import Image
from tests.viewer import browser

DOCS = Path(__file__).parents[2] / "docs"


def main(kind: str, page: Path, step: int) -> None:
    """Write both pictures of a ``report`` or a ``live`` page."""
    executable = browser.find()
    if executable is None:
        sys.exit("error: no Chromium here")
    with (
        tempfile.TemporaryDirectory() as profile,
        browser.Browser(executable, Path(profile)) as window,
    ):
        for scheme in ("light", "dark"):
            place = f"t={step}" if kind == "report" else "paused"
            window.open(f"{page.resolve().as_uri()}#{place}", dark=scheme == "dark")
            if kind == "live":
                window.value(f"for (let i = 0; i < {step}; i++) app.step(); app.draw()")
            path = DOCS / f"{kind}-{scheme}.png"
            picture = Image.open(BytesIO(window.screenshot())).convert("RGB").quantize(256)
            picture.save(path, optimize=True)
            print(f"wrote {path}, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
