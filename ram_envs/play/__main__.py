"""`python -m ram_envs.play`."""

from ram_envs.play.command import main

if __name__ == "__main__":
    main()
