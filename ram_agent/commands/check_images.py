"""The command `ram check-images`, which needs neither PyTorch nor tyro."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ram_envs.datasets import check_images


def main(args: list[str]) -> None:
    """Print what a folder or an .npz holds; exit with 1 if some of it cannot be read."""
    parser = argparse.ArgumentParser(
        "ram check-images",
        description="Check images of your own before training: number, sizes, modes, classes, "
        "splits, what is left out, and what cannot be read.",
        epilog="examples: ram check-images photos/   |   ram check-images photos/ --save sheet.png",
    )
    parser.add_argument(
        "path", metavar="PATH", help="a folder of images by class, or an .npz, as for --dataset"
    )
    parser.add_argument(
        "--save", type=Path, metavar="FILE", help="write a contact sheet of each class (PNG)"
    )
    options = parser.parse_args(args)
    report = check_images(options.path, options.save)
    print(report)
    if options.save is not None:
        print(f"Written to {options.save}")
    if report.problems:
        sys.exit(1)
