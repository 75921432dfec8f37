"""Shows episodes in the terminal, as a film or on a page, and writes live pages of agents."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from plasticrl.commands.program import say
from plasticrl.runs import UsageError

if TYPE_CHECKING:
    from plasticrl.agents.watching.agent import TrainedAgent
    from plasticrl.viewer import EpisodeTrace


SIGNATURE_EPISODES = 1000


@dataclass(frozen=True, kw_only=True)
class ShowArguments:
    """The ways in which an agent and its episodes are shown."""

    watch: bool = False
    """Play one episode in the terminal."""
    record: Path | None = None
    """Write one episode to FILE.gif, FILE.webp or FILE.mp4, or to FILE.npz to replay it."""
    report: Path | None = None
    """Write FILE.html, a page that plays four episodes with plasticity and without."""
    live: Path | None = None
    """Write FILE.html, a page that runs the agent in a maze whose reward can be moved."""

    signature: Path | None = None
    """Draw to FILE.png or FILE.svg what the agent has learned within episodes, beside agents that
    play as well as possible: for bandits, the two-step task, Harlow's task and transitive
    inference."""

    @property
    def asked(self) -> bool:
        """Whether anything is to be shown."""
        files = self.record, self.report, self.live, self.signature
        return self.watch or any(file is not None for file in files)

    @property
    def is_film(self) -> bool:
        """Whether ``record`` names a film, which needs pictures."""
        return self.record is not None and self.record.suffix.lower() != ".npz"

    def check_paths(self) -> None:
        """Raise an error for a file that cannot be written.

        Raises:
            ViewerError: the folder or the name is wrong.
            UsageError: two pages have the same name.
        """
        from plasticrl.viewer import check_live_path, check_record_path, check_report_path
        from plasticrl.viewer.signature import check_signature_path

        if self.signature is not None:
            check_signature_path(self.signature)
        if self.record is not None:
            check_record_path(self.record)
        if self.report is not None:
            check_report_path(self.report)
        if self.live is not None:
            check_live_path(self.live)
            if self.report is not None and self.live.resolve() == self.report.resolve():
                raise UsageError(f"--live and --report would both write {self.live}")


def show_recorded(path: Path, arguments: ShowArguments) -> None:
    """Show the episode of an .npz file, without torch and without the agent's run.

    Raises:
        UsageError: no way of showing the episode was chosen.
        ViewerError: the file does not hold an episode, or a file cannot be written.
    """
    if not arguments.asked:
        what = "is a recorded episode" if path.exists() else "does not exist"
        raise UsageError(f"{path} {what}: give --watch, --record FILE or --report FILE to show one")
    from plasticrl.viewer import load_npz, save_report

    arguments.check_paths()
    episode = load_npz(path)
    if arguments.report is not None:
        save_report([(episode, None)], arguments.report)
        say(f"wrote {arguments.report}")
    show(episode, arguments)


def play_agent(
    agent: "TrainedAgent", seed: int, deterministic: bool, arguments: ShowArguments
) -> "EpisodeTrace | None":
    """Play the episodes that are to be shown, and write the pages.

    Returns:
        The episode for ``show``; None if only pages were asked for.

    Raises:
        UsageError: the environment has no pictures for a film, or the agent is not supported by
            the live page.
        ViewerError: a file cannot be written.
    """
    from plasticrl.agents.watching.living import live_agent
    from plasticrl.agents.watching.pairs import count_rewards, play_pairs
    from plasticrl.agents.watching.recording import LONGEST, choose_render_mode, record_episode
    from plasticrl.agents.watching.signatures import signature
    from plasticrl.viewer import save_live, save_report
    from plasticrl.viewer.signature import save_signature

    if arguments.signature is not None:
        drawn = signature(agent, SIGNATURE_EPISODES, seed, deterministic)
        save_signature(drawn, arguments.signature)
        say(f"wrote {arguments.signature}")
    if arguments.live is not None:
        save_live(live_agent(agent, seed, deterministic), arguments.live)
        say(f"wrote {arguments.live}")
    episode = None
    if arguments.watch or arguments.record is not None:
        mode, reason = choose_render_mode(agent.config, prefers_text=arguments.record is None)
        if reason is not None and arguments.is_film:
            raise UsageError(f"--record: {reason}")
        if reason is not None:
            say(f"note: {reason}")
        episode = record_episode(agent, seed, mode, deterministic)
        if episode.n_steps == LONGEST and not episode.terminated:
            say(f"note: the episode is shown up to its step {LONGEST:,}")
    if arguments.report is not None:
        pairs = play_pairs(agent, seed, deterministic)
        save_report(pairs, arguments.report, count_rewards(agent, seed, deterministic))
        say(f"wrote {arguments.report}")
    return episode


def show(episode: "EpisodeTrace", arguments: ShowArguments) -> None:
    """Write an episode to a film or an .npz file, and play it in the terminal.

    Raises:
        ViewerError: the file cannot be written.
    """
    from rich.console import Console

    from plasticrl.viewer import record, watch

    if arguments.record is not None:
        record(episode, arguments.record)
        say(f"recorded {arguments.record}")
    if arguments.watch:
        watch(episode, Console())
