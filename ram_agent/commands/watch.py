"""The command `ram watch`."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from ram_agent.agent import RAMAgent
from ram_agent.commands.parsing import UNSET, parse
from ram_agent.commands.trained import Trained, check_one_run, name_run
from ram_agent.looking import look
from ram_agent.pictures import (
    FPS,
    NUM_SHOWN,
    check_ending,
    make_drawn,
    play_frames,
    save_picture,
    save_watched,
)
from ram_agent.weights import find_weights
from ram_envs.atomic_files import check_writable
from ram_envs.display import Window
from ram_envs.rendering import FRAME_SIZE, to_surface

REST_SECONDS = 1.5  # at the end of an episode
FASTER = 2**0.5  # + and -


@dataclass(frozen=True)
class Watch(Trained):
    """Watch a trained agent look, in a window or as a picture.

    Examples:
      ram watch pretrained:catch
      ram watch runs/four --save four.gif
      ram watch runs/four --save four.png --episodes 6
      ram watch runs/pong --save pong.mp4 --max-steps 1000
      ram watch pretrained:mnist-6 --image my_digit.png --invert

    Keys in the window: Space pauses, Left and Right step, + and - change the speed, N is the next
    episode, R repeats it, Esc closes.
    """

    save: Annotated[Path | None, UNSET] = None
    """Write a file instead of opening a window: an animation (.gif, or .mp4 with
    "ram-gym[video]"), or the last frames side by side (.png). Without a name: RUN.gif."""

    image: Annotated[Path | None, UNSET] = None
    """Show the agent this picture, with the probability of each label after each glimpse."""

    invert: bool = False
    """Invert that picture: MNIST's digits are white on black."""

    fps: Annotated[float | None, UNSET] = None
    """Frames per second (default: the environment's own)."""

    episodes: Annotated[int | None, UNSET] = None
    """How many episodes (default: 6, or fewer if there are fewer images; 1 in an environment of
    another package)."""

    max_steps: Annotated[int | None, UNSET] = None
    """Maximum number of steps per episode (default: 300 in an environment of another package)."""

    start: int = 0
    """The first episode: the index of an image, or the seed of a game."""

    sampled: bool = False
    """Sample locations and choices instead of taking the mean and the most probable choice; always
    on for agents whose validations were sampled, as in environments of another package."""


def main(args: list[str]) -> None:
    """Show an agent's episodes in a window, or write them where --save says."""
    check_one_run(args)
    command = parse_watch(args)
    check(command)
    find_weights(command.run)  # before the window: a wrong name is the likelier mistake
    if command.save is not None:
        check_ending(command.save)
        check_writable(command.save)
    window = None
    if command.save is None:
        window = Window(title=f"ram watch {command.run}", render_fps=60)
        window.open(FRAME_SIZE)  # before the agent is loaded: there may be no display
    if command.image is not None:
        return show_image(command, window)
    agent, env, split = command.load(only_look=True, max_episode_steps=command.max_steps)
    envs = make_drawn(env, split)
    num_shown = 1 if env.is_foreign else NUM_SHOWN
    num_images: int | None = getattr(envs.unwrapped, "num_images", None)
    episodes = choose_episodes(command, num_shown, num_images)
    sampled = command.sampled
    if command.save is not None:
        save_watched(agent, envs, command.save, episodes, sampled, command.fps)
        return print(f"Written to {command.save}")
    assert window is not None
    fps = command.fps or envs.metadata["render_fps"]
    Viewer(window, fps).show(play_frames(agent, envs, episodes, False if sampled else None))


def choose_episodes(command: Watch, num_shown: int, num_images: int | None) -> range:
    """Return the images of the split, or the seeds of the games, that are shown.

    Args:
        command: the options.
        num_shown: how many, if the user gave no number.
        num_images: in the split; None for a game.

    Raises:
        ValueError: if the split has fewer images.
    """
    end = command.start + (command.episodes or num_shown)
    if num_images is None:
        return range(command.start, end)
    if command.start + (command.episodes or 1) > num_images:
        asked = f"start={command.start}"
        if command.episodes is not None:
            asked += f", episodes={command.episodes}"
        raise ValueError(f"{asked}: the split has {num_images:,} images, numbered from 0.")
    return range(command.start, min(end, num_images))


def parse_watch(args: list[str]) -> Watch:
    """Parse the arguments; --save without a file name writes RUN.gif."""
    place = args.index("--save") + 1 if "--save" in args else 0
    if not place or (place < len(args) and not args[place].startswith("-")):
        return parse(Watch, "watch", args)
    command = parse(Watch, "watch", [*args[:place], "RUN.gif", *args[place:]])
    return dataclasses.replace(command, save=Path(f"{name_run(command.run)}.gif"))


def check(command: Watch) -> None:
    """Raise ValueError for options that are out of range, or exclude each other."""
    for name, value in (("episodes", command.episodes), ("fps", command.fps)):
        if value is not None and not 0 < value < 1000:
            raise ValueError(f"{name}={value} is out of range. Give a number above 0, below 1000.")
    if command.start < 0:
        raise ValueError(f"start={command.start} is out of range. Give at least 0.")
    if command.max_steps is not None and command.max_steps < 1:
        raise ValueError(f"max_steps={command.max_steps} is out of range. Give at least 1.")
    if command.image is None and command.invert:
        raise ValueError("--invert changes the picture of --image. Give --image FILE.")
    fixed = {
        "--env-id": command.env_id,
        "--dataset": command.dataset,
        "--split": command.split,
        "--episodes": command.episodes,
        "--start": command.start or None,
        "--sampled": command.sampled or None,
        "--max-steps": command.max_steps,
    }
    if command.image is not None and (given := [name for name in fixed if fixed[name] is not None]):
        raise ValueError(f"{', '.join(given)}: --image shows one picture. Leave it out.")


def show_image(command: Watch, window: Any) -> None:
    """Show the agent the picture of --image."""
    seen = look(RAMAgent.load(command.run), command.image, invert=command.invert)
    print(f"Label: {seen.name} ({100 * seen.probability:.0f}%).")
    if command.save is None:
        return Viewer(window, command.fps or FPS).show(iter([seen.frames()]))
    save_picture([seen.frames()], command.save, command.fps or FPS)
    print(f"Written to {command.save}")


class Viewer:
    """Shows episodes of frames in a window, with keys to pause, step and change the speed.

    Args:
        window: the window; its own rate is that at which keys are read.
        fps: frames of an episode per second.
    """

    def __init__(self, window: Any, fps: float) -> None:
        self.window = window
        self.fps = fps
        self.paused = False
        self.frames: list[Any] = []
        self.place = 0  # of the frame that is shown
        self.wanted = 0  # the episode: 1 for the next, −1 for this one again
        self._shown_for = 0.0

    def show(self, episodes: Any) -> None:
        """Show one episode after another until the last one, or until the window is closed."""
        for frames in episodes:
            self.frames = frames
            self.wanted = -1
            while self.wanted < 0:
                self._show_episode()
            if self.window.closed:
                return
        self.window.close()

    def _show_episode(self) -> None:
        self.place, self.wanted, self._shown_for = 0, 0, 0.0
        while not self.wanted and not self.window.closed:
            for event in self.window.show(to_surface(self.frames[self.place])):
                self.handle(event)
            self.tick(1 / self.window.render_fps)

    def tick(self, seconds: float) -> None:
        """Let time pass."""
        if self.paused:
            return
        self._shown_for += seconds
        is_last = self.place == len(self.frames) - 1
        if self._shown_for < (max(REST_SECONDS, 1 / self.fps) if is_last else 1 / self.fps):
            return
        if is_last:
            self.wanted = self.wanted or 1
        else:
            self._go_to(self.place + 1)

    def handle(self, event: Any) -> None:
        """Handle an event of the window."""
        import pygame

        if event.type != pygame.KEYDOWN:
            return
        if event.key in (pygame.K_ESCAPE, pygame.K_q):
            self.window.close()
        elif event.key in (pygame.K_SPACE, pygame.K_p):
            self.paused = not self.paused
        elif event.key in (pygame.K_RIGHT, pygame.K_LEFT):
            self.paused = True
            self._go_to(self.place + (1 if event.key == pygame.K_RIGHT else -1))
        elif event.key in (pygame.K_PLUS, pygame.K_KP_PLUS, pygame.K_EQUALS):
            self.fps *= FASTER
        elif event.key in (pygame.K_MINUS, pygame.K_KP_MINUS):
            self.fps /= FASTER
        elif event.key == pygame.K_n:
            self.wanted = 1
        elif event.key == pygame.K_r:
            self.wanted = -1

    def _go_to(self, place: int) -> None:
        self.place = min(max(place, 0), len(self.frames) - 1)
        self._shown_for = 0.0
