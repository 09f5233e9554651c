"""Play an environment and see only what its retina sees; watch an agent, or play against it.

`python -m ram_envs.play RAMCatch-v0` opens a window: the game Catch in real time.
`python -m ram_envs.play RAMClutteredMNIST-v0` is a quiz: click to look, type the digit.
`python -m ram_envs.play RAMSearch-v0` is a search: click to look, press Space to take the target.
`python -m ram_envs.play ALE/Pong-v5` is Pong in fog: any environment with pictures can be played.
`python -m ram_envs.play MODULE:ID` plays a custom task: the mouse looks, keys choose.

    seat.py             a player (a person, an agent or a recording) and their environment
    game.py             what every game has: phases, scores, the next episode, keys, words
    catch_game.py       Catch, in real time or turn by turn
    look_game.py        what the quiz and Search share
    quiz_game.py        the glimpse quiz
    search_game.py      Search, look by look
    arcade_game.py      environments of other packages, and custom tasks
    recording.py        games to play again, as files
    sheet.py            lines, text and marks (pygame from here on)
    screen.py           what is drawn of a game
    window.py           keyboard, mouse and the loop
    extras.py           the gaze's trail, the looks that are left, labels to click
    menu.py             the menu of `ram play` without an id
    gif.py              a game as an animation, without a window
    session.py          set-up: environment, opponents, recordings, results
    command.py          the command line

The games use the environments, so no rule is written twice. Time, keys and gaze are passed to
methods, so games are tested without a window.
"""

from ram_envs.play.command import main

__all__ = ["main"]
