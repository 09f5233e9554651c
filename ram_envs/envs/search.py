"""The environment of the game Search: keywords, and its manual page."""

from __future__ import annotations

from collections.abc import Sequence

from gymnasium.vector import AutoresetMode

from ram_envs.arguments import suggest_keywords
from ram_envs.glimpse_env import GlimpseEnv, GlimpseVectorEnv
from ram_envs.retina import Retina
from ram_envs.tasks.search import Search


class SearchEnv(GlimpseEnv):
    """Find the one item with vertical bars among items with horizontal bars, and take it.

    ## Description

    A visual search task, which is not from the paper. Five small items lie on a black canvas of
    200 × 200 pixels. All are equally bright, so the coarse patches of the retina show where an item
    is, but only the sharp inner patch shows whether its bars are vertical. The agent must look at
    one item after another, remember which ones it has seen, and take the target when it sees it. If
    no item is in sight, it must look elsewhere. A larger canvas makes the search longer; only
    what the retina reads is drawn. `ram_envs.tasks.search` contains the exact rules, and
    `ram_envs.searcher.Searcher` is a scripted player.

    ## Action space

    `Tuple(Box(-1, 1, (2,), float32), Discrete(2))`: the next location (x, y), where (−1, −1) is
    the canvas's top-left corner and (0, 0) its center, and a choice: 0 keeps looking, 1 takes
    what the last glimpse shows in its middle. Locations outside the box are clipped.

    ## Observation space

    `Dict(glimpse=Box(0, 1, (K, G, G), float32), location=Box(-1, 1, (2,), float32))`: what the
    retina returned, the sharp inner patch first, and where it looked.

    ## Rewards

    1 for taking the target. Each step costs 0.01, and each mistake another 0.01. To take the
    target, its center must be at most 8 pixels from the last location, across and down. Taking
    anything else, or nothing, is a mistake. The reward threshold is a mean return of 0.85.

    ## Starting state

    The items are at random places. The first glimpse is at a uniformly random location, or at
    `initial_location`.

    ## Episode end

    Terminated when the target is taken, truncated after 100 steps.

    ## Info

    At the end of an episode, `found`: whether the target was taken. It is missing if
    `max_episode_steps` truncated the episode.

    ## Arguments

    - `canvas_size=200`: a side or (height, width) of the canvas in pixels.
    - `num_distractors=4`: the number of items besides the target.
    - `look_cost=0.01`: the cost of each step.
    - `mistake_cost=0.01`: the additional cost of each mistake.
    - `time_limit=100`: the steps after which an episode is truncated.
    - `glimpse_size=12`, `num_scales=4`: G and K of the retina.
    - `initial_location=None`: (x, y) of the first glimpse; None for uniformly random.
    - `render_mode=None`: "rgb_array" or "human" (needs pygame: `pip install "ram-gym[play]"`).
    - `autoreset_mode` (vector only): as in Gymnasium; NEXT_STEP is the default.
    - `max_episode_steps`: as in Gymnasium; where it is below `time_limit`, it truncates earlier.

    ## Version history

    - v0: initial version.
    """

    @suggest_keywords
    def __init__(
        self,
        *,
        canvas_size: int | Sequence[int] = 200,
        num_distractors: int = 4,
        look_cost: float = 0.01,
        mistake_cost: float = 0.01,
        time_limit: int = 100,
        glimpse_size: int = 12,
        num_scales: int = 4,
        initial_location: Sequence[float] | None = None,
        render_mode: str | None = None,
    ) -> None:
        task = Search(canvas_size, num_distractors, look_cost, mistake_cost, time_limit)
        retina = Retina(glimpse_size, num_scales)
        super().__init__(task, retina, initial_location, render_mode)


class SearchVectorEnv(GlimpseVectorEnv):
    """`num_envs` environments `SearchEnv` in one, many times faster, with the same keywords."""

    @suggest_keywords
    def __init__(
        self,
        num_envs: int = 1,
        *,
        canvas_size: int | Sequence[int] = 200,
        num_distractors: int = 4,
        look_cost: float = 0.01,
        mistake_cost: float = 0.01,
        time_limit: int = 100,
        glimpse_size: int = 12,
        num_scales: int = 4,
        initial_location: Sequence[float] | None = None,
        render_mode: str | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        max_episode_steps: int | None = None,
    ) -> None:
        task = Search(canvas_size, num_distractors, look_cost, mistake_cost, time_limit)
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
