"""An episode as one picture: stills side by side, from the first step to the last."""

from collections.abc import Sequence

from PIL import Image

from plasticrl.viewer import panels, theme
from plasticrl.viewer.episode import EpisodeTrace

SIDE, GAP = 150, 6


def filmstrip(recordings: Sequence[EpisodeTrace], steps: Sequence[int]) -> Image.Image | None:
    """Draw a row of pictures for each episode, and one of the first one's trace.

    Args:
        recordings: the same episode played by one net or several.
        steps: which steps, from 0; an episode that ends sooner stays at its last step.

    Returns:
        None if there is no picture at all.
    """
    rows = []
    for which, recording in enumerate(recordings):
        times = [min(step, recording.n_steps - 1) for step in steps]
        if recording.has_picture:
            pictures = [panels.environment(recording, step) for step in times]
            rows.append([picture for picture in pictures if picture is not None])
        if which == 0 and recording.synapses is not None:
            trace = recording.synapses.trace
            rows.append([panels.heat_map(trace.shares(step)) for step in times])
    if not rows:
        return None
    pitch = SIDE + GAP
    strip = Image.new("RGB", (len(steps) * pitch + GAP, len(rows) * pitch + GAP), theme.BACKGROUND)
    for i, row in enumerate(rows):
        for j, picture in enumerate(row):
            small = picture.resize((SIDE, SIDE), Image.Resampling.BOX)
            strip.paste(small, (GAP + j * pitch, GAP + i * pitch))
    return strip
