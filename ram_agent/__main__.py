"""`python -m ram_agent` is the command `ram`."""

from ram_agent.cli import main

if __name__ == "__main__":
    main()
