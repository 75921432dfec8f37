"""One recorded episode and its renderers: an animated GIF, the terminal, and an HTML page.

Knows numpy, matplotlib, Pillow and rich; neither torch nor Stable-Baselines3.
"""

from plasticrl.viewer.archive import load_npz, save_npz
from plasticrl.viewer.episode import EpisodeTrace
from plasticrl.viewer.errors import ViewerError
from plasticrl.viewer.gif import check_gif_path, save_gif
from plasticrl.viewer.report import check_report_path, save_report
from plasticrl.viewer.synapses import Quantised, SynapseRecorder, Synapses
from plasticrl.viewer.terminal import watch

__all__ = [
    "EpisodeTrace",
    "Quantised",
    "SynapseRecorder",
    "Synapses",
    "ViewerError",
    "check_gif_path",
    "check_report_path",
    "load_npz",
    "save_gif",
    "save_npz",
    "save_report",
    "watch",
]
