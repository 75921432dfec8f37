"""Renderers of a recorded episode (film, terminal, HTML page), and the page of a living agent.

It uses numpy, matplotlib, Pillow and rich, but neither torch nor Stable-Baselines3.
"""

from plasticrl.viewer.archive import load_npz, save_npz
from plasticrl.viewer.episode import EpisodeTrace
from plasticrl.viewer.errors import ViewerError
from plasticrl.viewer.film import check_record_path, record
from plasticrl.viewer.live import LiveAgent, check_live_path, save_live
from plasticrl.viewer.report import check_report_path, save_report
from plasticrl.viewer.scene import Scene, Symbol
from plasticrl.viewer.synapses import Quantized, SynapseRecorder, Synapses
from plasticrl.viewer.terminal import watch

__all__ = [
    "EpisodeTrace",
    "LiveAgent",
    "Quantized",
    "Scene",
    "Symbol",
    "SynapseRecorder",
    "Synapses",
    "ViewerError",
    "check_live_path",
    "check_record_path",
    "check_report_path",
    "load_npz",
    "record",
    "save_live",
    "save_npz",
    "save_report",
    "watch",
]
