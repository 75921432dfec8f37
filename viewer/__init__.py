"""One recorded episode and its renderers: an animated GIF, and the terminal.

Knows numpy, matplotlib, Pillow and rich; neither torch nor Stable-Baselines3.
"""

from plasticrl.viewer.episode import EpisodeTrace
from plasticrl.viewer.errors import ViewerError
from plasticrl.viewer.gif import check_gif_path, save_gif
from plasticrl.viewer.terminal import watch

__all__ = ["EpisodeTrace", "ViewerError", "check_gif_path", "save_gif", "watch"]
