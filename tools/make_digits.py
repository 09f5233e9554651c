"""Make `ram_envs/data/digits.npz`, the data set inside the package, from scikit-learn's copy.

    pip install scikit-learn && python tools/make_digits.py

The scans stay as they are, 8 × 8 pixels of 0 … 16 in scikit-learn's order; `ram_envs.datasets`
enlarges and splits them on loading. Running this again writes the same bytes. Source and license
of the scans are in `ram_envs/data/DIGITS_LICENSE.md`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

TARGET = Path(__file__).resolve().parent.parent / "ram_envs" / "data" / "digits.npz"


def main() -> None:
    """Write the file that `ram_envs.datasets` reads."""
    digits = load_digits()
    images = digits.images.astype(np.uint8)  # (1797, 8, 8)
    labels = digits.target.astype(np.uint8)  # (1797,)
    assert (images == digits.images).all()
    assert images.max() == 16
    np.savez_compressed(TARGET, images=images, labels=labels)
    print(f"{TARGET}: {len(images):,} scans, {TARGET.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
