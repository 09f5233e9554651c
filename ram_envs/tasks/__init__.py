"""The rules: what the images show, what a label or a move does, and what is rewarded."""
