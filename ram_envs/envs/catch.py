"""The environment of the game Catch: keywords, and its manual page."""

from __future__ import annotations

from collections.abc import Sequence

from gymnasium.vector import AutoresetMode

from ram_envs.arguments import suggest_keywords
from ram_envs.glimpse_env import GlimpseEnv, GlimpseVectorEnv
from ram_envs.retina import Retina
from ram_envs.tasks.catch import Catch


class CatchEnv(GlimpseEnv):
    """Watch a falling ball through a retina and move the paddle under it.

    ## Description

    The game of "Recurrent Models of Visual Attention" (Mnih et al. 2014, section 4.2). A one-pixel
    ball falls on a screen of 24 × 24 binary pixels and bounces off the side walls; a two-pixel
    paddle moves on the bottom row. The agent sees the screen only through a retina of three
    scales, so it sees sharply only where it looks. `ram_envs.tasks.catch` contains the exact rules.

    ## Action space

    `Tuple(Box(-1, 1, (2,), float32), Discrete(3))`: the next location (x, y), where (−1, −1) is
    the screen's top-left corner and (0, 0) its center, and a move: 0 left, 1 stay, 2 right.
    Locations outside the box are clipped.

    ## Observation space

    `Dict(glimpse=Box(0, 1, (K, G, G), float32), location=Box(-1, 1, (2,), float32))`: what the
    retina returned of the new frame, the sharp inner patch first, and where it looked.

    ## Rewards

    1 for each ball that lands on the paddle, else 0.

    ## Starting state

    The ball starts in a random column of the top row with a random speed, the paddle at a random
    position. The first glimpse is at a uniformly random location, or at `initial_location`.

    ## Episode end

    Terminated when the last ball has landed: after 23 steps with one ball, 24 · n − 1 with n balls.
    Never truncated by default.

    ## Info

    `caught`, the number of balls caught, when the last ball has landed.

    ## Arguments

    - `size=24`: side of the screen in pixels.
    - `paddle_width=2`: in pixels.
    - `max_speed=1.0`: a ball's speed is uniform in [−max_speed, max_speed] columns per row.
    - `num_balls=1`: the number of balls in an episode.
    - `glimpse_size=6`, `num_scales=3`: G and K of the retina.
    - `initial_location=None`: (x, y) of the first glimpse; None for uniformly random.
    - `render_mode=None`: "rgb_array" or "human" (needs pygame: `pip install "ram-gym[play]"`).
    - `autoreset_mode` (vector only): as in Gymnasium; NEXT_STEP is the default.
    - `max_episode_steps`: as in Gymnasium; by default episodes are not truncated.

    ## Version history

    - v0: initial version.
    """

    metadata = {"render_modes": ["rgb_array", "human"], "render_fps": 8}

    @suggest_keywords
    def __init__(
        self,
        *,
        size: int = 24,
        paddle_width: int = 2,
        max_speed: float = 1.0,
        num_balls: int = 1,
        glimpse_size: int = 6,
        num_scales: int = 3,
        initial_location: Sequence[float] | None = None,
        render_mode: str | None = None,
    ) -> None:
        task = Catch(size, paddle_width, max_speed, num_balls)
        retina = Retina(glimpse_size, num_scales)
        super().__init__(task, retina, initial_location, render_mode)


class CatchVectorEnv(GlimpseVectorEnv):
    """`num_envs` environments `CatchEnv` in one, many times faster, with the same keywords."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 8}

    @suggest_keywords
    def __init__(
        self,
        num_envs: int = 1,
        *,
        size: int = 24,
        paddle_width: int = 2,
        max_speed: float = 1.0,
        num_balls: int = 1,
        glimpse_size: int = 6,
        num_scales: int = 3,
        initial_location: Sequence[float] | None = None,
        render_mode: str | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        max_episode_steps: int | None = None,
    ) -> None:
        task = Catch(size, paddle_width, max_speed, num_balls)
        retina = Retina(glimpse_size, num_scales)
        super().__init__(
            task,
            retina,
            num_envs,
            initial_location,
            render_mode,
            autoreset_mode,
            max_episode_steps,
        )
