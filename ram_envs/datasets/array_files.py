"""Your own arrays in files: .npz, .npy and IDX, as Fashion-MNIST has it.

A size that a header states is compared with the file before memory is allocated, and nothing is
unpickled.
"""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from ram_envs.atomic_files import max_unpacked
from ram_envs.datasets.idx import find_idx, read_idx
from ram_envs.datasets.picture_folder import Folder, find_splits
from ram_envs.datasets.source import LabeledImages
from ram_envs.datasets.splits import SPLIT_NAMES

# The images of "all", or of a split: how the names of their arrays may begin.
_PREFIXES = (
    ("all", ""),
    *((split, f"{name}_") for split, names in SPLIT_NAMES.items() for name in names),
)

# --- .npz ------------------------------------------------------------------------------------


def read_npz(path: Path) -> dict[str, LabeledImages]:
    """Return the arrays "images" and "labels" as "all", or "train_images" and so on by split.

    An array "class_names" names the classes.
    """
    try:
        with path.open("rb") as file:
            if not zipfile.is_zipfile(file):
                raise ValueError(
                    f"{path} is not an .npz file, or is truncated. "
                    "np.savez(path, images=…, labels=…) writes one."
                )
            file.seek(0)
            with np.load(file, allow_pickle=False) as arrays:
                _check_sizes(arrays.zip, path)
                return _read_splits(arrays, path)
    except ValueError as error:
        if str(path) in str(error):
            raise
        raise ValueError(f"{path} is damaged: {error}. Copy or write it again.") from None
    except Exception as error:  # zipfile raises many kinds for a damaged file, or an encrypted one
        raise ValueError(f"{path} is damaged: {error}. Copy or write it again.") from None


def _check_sizes(archive: zipfile.ZipFile, path: Path) -> None:
    """Refuse arrays that are larger than the file can hold: numpy would allocate them first."""
    for member in archive.infolist():
        if member.file_size > max_unpacked(path.stat().st_size):
            raise ValueError(
                f"{path}: {member.filename!r} would have {member.file_size:,} bytes, too many for "
                "a file of this length. If that is right, write it with np.savez, uncompressed."
            )
        with archive.open(member) as file:
            header = _read_npy_header(file)
            if header is None:
                continue  # numpy returns its bytes, which ImageDataset refuses
            shape, dtype = header
            size = member.file_size - file.tell()
        if not dtype.hasobject and math.prod(shape) * dtype.itemsize != size:
            raise ValueError(
                f"{member.filename!r} has {size:,} bytes, but its header states {dtype} of shape "
                f"{shape}"
            )


def _read_npy_header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]] | None:
    """Return shape and dtype of the array that follows, or None if the file is not an .npy.

    Raises:
        ValueError: if the header is damaged.
    """
    try:
        version = np.lib.format.read_magic(file)
    except ValueError:
        return None
    read_header = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    try:
        shape, _, dtype = read_header(file)
    except Exception:  # numpy parses it as Python, which raises many kinds
        raise ValueError("the header of an array cannot be read") from None
    return shape, dtype


def _read_splits(arrays: Mapping[str, Any], path: Path) -> dict[str, LabeledImages]:
    return {
        part: _read_arrays(arrays, f"{prefix}images", f"{prefix}labels", path)
        for part, prefix in _find_prefixes(list(arrays), path).items()
    }


def _find_prefixes(arrays: Sequence[str], path: Path) -> dict[str, str]:
    """Return how the names of each split's arrays begin, such as "train_"; all images have one."""
    advice = (
        f"It holds {', '.join(map(repr, arrays[:9])) or 'nothing'}. Name the arrays images and "
        "labels, or train_images, train_labels, val_images and so on."
    )
    found: dict[str, str] = {}
    for part, prefix in _PREFIXES:
        missing = [name for name in ("images", "labels") if prefix + name not in arrays]
        if len(missing) == 1:
            raise ValueError(f"{path} has no {prefix + missing[0]!r}. {advice}")
        if not missing and part in found:
            raise ValueError(
                f"{path} has two arrays of {part} images, {found[part]}images and {prefix}images. "
                "Rename or remove one."
            )
        if not missing:
            found[part] = prefix
    if not found:
        raise ValueError(f"{path} has no images and labels. {advice}")
    used = ["images"] if "all" in found else [f"{prefix}images" for prefix in found.values()]
    images = [name for name in arrays if name == "images" or name.endswith("_images")]
    if others := sorted(set(images) - set(used)):
        raise ValueError(
            f"{path} holds {', '.join(others)} beside {', '.join(used)}. Name all images after "
            "their split, such as train_images, or leave the others out."
        )
    return found


def _read_arrays(
    arrays: Mapping[str, Any], images_name: str, labels_name: str, path: Path
) -> LabeledImages:
    images, labels = (_read_array(arrays, name, path) for name in (images_name, labels_name))
    names = _read_array(arrays, "class_names", path) if "class_names" in arrays else None
    return LabeledImages(images, as_column(labels), as_names(names))


def _read_array(arrays: Mapping[str, Any], name: str, path: Path) -> Any:
    try:
        return arrays[name]
    except ValueError as error:  # an array of Python objects, which could run code
        raise ValueError(
            f"{path}: {name!r} cannot be read: {error}. {_advise_on_objects(name)}"
        ) from None


def _advise_on_objects(name: str) -> str:
    """Return what to write instead of an array of Python objects."""
    if name == "class_names":
        return "Write names as text, with class_names.astype(str)."
    return "Write an array of numbers."


def as_names(names: Any) -> tuple[str, ...] | None:
    """Return the names of classes in an array as a tuple; None if there are none."""
    return None if names is None else tuple(np.ravel(names).tolist())


def as_column(labels: Any) -> Any:
    """Return labels (N, 1), as some collections have them, as (N,); others as they are."""
    return labels[:, 0] if np.ndim(labels) == 2 and labels.shape[1] == 1 else labels


# --- .npy ------------------------------------------------------------------------------------


def find_npy_folders(folder: Folder) -> dict[str, Path]:
    """Return the folders that hold each split's images.npy, or the one that holds "all".

    Raises:
        FileNotFoundError: if a split has none, but another one has.
        ValueError: if a split is there twice, or beside images.npy.
    """
    splits = find_splits(folder)
    if _holds_images(folder):
        if splits:
            raise ValueError(
                f"{folder.path} has images.npy beside {', '.join(e.name for e in splits.values())}"
                ". Move it and labels.npy to a folder train, or the others elsewhere."
            )
        return {"all": Path(folder.path)}
    if not any(map(_holds_images, splits.values())):
        return {}
    for entry in splits.values():
        if not _holds_images(entry):
            raise FileNotFoundError(
                f"{entry.path} has no images.npy, unlike other splits. Write the images there with "
                "np.save, or remove the folder."
            )
    return {split: Path(entry.path) for split, entry in splits.items()}


def _holds_images(folder: Folder) -> bool:
    return any(os.path.basename(file.path) == "images.npy" for file in folder.files)


def map_npy_folders(folders: Mapping[str, Path], top: Path) -> dict[str, LabeledImages]:
    """Map the images in the folders' images.npy; read labels.npy, and class_names.npy in `top`."""
    for folder in folders.values():
        path = folder / "class_names.npy"
        if folder != top and path.exists():
            raise ValueError(
                f"{path} is in the folder of a split, but names the classes of all. Move it to "
                f"{top}."
            )
    path = top / "class_names.npy"
    names = as_names(_map_npy(path)) if path.exists() else None
    mapped = {folder: _map_folder(folder, names) for folder in folders.values()}
    shapes = {arrays.images.shape[1:] for arrays in mapped.values()}
    if len(shapes) > 1:  # they may be larger than memory, so they cannot be padded
        raise ValueError(
            f"{' and '.join(map(str, mapped))} hold images of shapes {sorted(shapes)}. Pad them to "
            "one shape."
        )
    return {split: mapped[folder] for split, folder in folders.items()}


def _map_folder(folder: Path, class_names: tuple[str, ...] | None) -> LabeledImages:
    if not (folder / "labels.npy").exists():
        raise FileNotFoundError(
            f"{folder} has images.npy but no labels.npy. Write the images' classes there, (N,) "
            "integers, with np.save."
        )
    images, labels = (_map_npy(folder / name) for name in ("images.npy", "labels.npy"))
    return LabeledImages(images, as_column(np.asarray(labels)), class_names)


def _map_npy(path: Path) -> npt.NDArray[Any]:
    try:
        if not _checked_dtype(path).hasobject:
            mapped: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
            return mapped
    except Exception as error:  # numpy parses the header as Python, which raises many kinds
        raise ValueError(f"{path} cannot be read: {error}. Copy or write it again.") from None
    raise ValueError(f"{path} holds Python objects. {_advise_on_objects(path.stem)}")


def _checked_dtype(path: Path) -> np.dtype[Any]:
    """Return the dtype of an .npy; refuse one that is shorter than its header states."""
    with path.open("rb") as file:
        header = _read_npy_header(file)
        if header is None:
            raise ValueError("it is not an .npy")
        shape, dtype = header
        expected = file.tell() + math.prod(shape) * dtype.itemsize
    found = path.stat().st_size
    if found < expected and not dtype.hasobject:
        raise ValueError(
            f"it has {found:,} bytes, but its header states {dtype} of shape {shape}, which needs "
            f"{expected:,}"
        )
    return dtype


# --- IDX -------------------------------------------------------------------------------------


def read_idx_folder(folder: Path, names: Sequence[str]) -> dict[str, LabeledImages]:
    """Read IDX files of training images and labels, then of test images and labels.

    The last sixth of the training images is for validation, as for MNIST. If a class would be
    missing in either part, because images are sorted by class, every sixth image of each class is.
    """
    paths = [find_idx(name, folder) for name in names]
    missing = [name for name, path in zip(names, paths, strict=True) if path is None]
    if missing:
        raise FileNotFoundError(
            f"{folder} has files named as MNIST's, but lacks {', '.join(missing)}. Put all four "
            "there, with or without .gz."
        )
    images, labels, test_images, test_labels = [read_idx(path) for path in paths if path]
    if len(images) != len(labels):
        raise ValueError(
            f"{paths[0]} has {len(images)} images, but {paths[1]} {len(labels)} labels. Give one "
            "label per image."
        )
    n = len(images) - max(1, len(images) // 6)  # 50,000 of 60,000, as for MNIST
    train: Any = slice(n)
    validation: Any = slice(n, None)
    if labels.ndim == 1 and set(labels[:n].tolist()) != set(labels[n:].tolist()):
        validation = _every_sixth(labels)
        train = ~validation
    return {
        "train": LabeledImages(images[train], labels[train]),
        "validation": LabeledImages(images[validation], labels[validation]),
        "test": LabeledImages(test_images, test_labels),
    }


def _every_sixth(labels: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Mark every sixth image of each class, or one of a class that has two to five."""
    marked = np.zeros(len(labels), np.bool_)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        marked[rows[5::6] if len(rows) > 5 else rows[1:][-1:]] = True
    return marked
