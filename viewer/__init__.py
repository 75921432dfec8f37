"""One recorded episode and its renderers: a film, the terminal, and an HTML page.

It uses numpy, matplotlib, Pillow and rich, but neither torch nor Stable-Baselines3.
"""

from plasticrl.viewer.archive import load_npz, save_npz
from plasticrl.viewer.episode import EpisodeTrace
from plasticrl.viewer.errors import ViewerError
from plasticrl.viewer.film import check_record_path, record
from plasticrl.viewer.report import check_report_path, save_report
from plasticrl.viewer.scene import Scene, Symbol
from plasticrl.viewer.synapses import Quantized, SynapseRecorder, Synapses
from plasticrl.viewer.terminal import watch

__all__ = [
    "EpisodeTrace",
    "Quantized",
    "Scene",
    "Symbol",
    "SynapseRecorder",
    "Synapses",
    "ViewerError",
    "check_record_path",
    "check_report_path",
    "load_npz",
    "record",
    "save_npz",
    "save_report",
    "watch",
]
