"""The pictures of the report in docs/:  python -m tests.viewer.screenshots REPORT.html STEP"""

import sys
import tempfile
from io import BytesIO
from pathlib import Path

from PIL import Image
from tests.viewer import browser

DOCS = Path(__file__).parents[2] / "docs"


def main(report: Path, step: int) -> None:
    """Write docs/report-light.png and docs/report-dark.png, 1280 x 800."""
    executable = browser.find()
    if executable is None:
        sys.exit("error: no Chromium here")
    with (
        tempfile.TemporaryDirectory() as profile,
        browser.Browser(executable, Path(profile)) as page,
    ):
        for scheme in ("light", "dark"):
            page.open(f"{report.resolve().as_uri()}#t={step}", dark=scheme == "dark")
            path = DOCS / f"report-{scheme}.png"
            Image.open(BytesIO(page.screenshot())).convert("RGB").save(path, optimize=True)
            print(f"wrote {path}, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
