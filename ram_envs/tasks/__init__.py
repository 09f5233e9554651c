"""The rules: what is on the screen, what a label or a move does to it, and what it is worth."""
