"""Images of your own: from a folder, from arrays in files, or from a data set of another library.

All become an `ImageDataset`, which environments share without copying. Images of different sizes
are centered on black, as large as the highest and the widest of them.
"""

from __future__ import annotations

import math
import warnings
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from gymnasium.error import DependencyNotInstalled

from ram_envs.atomic_files import MOST_UNPACKED, most_unpacked, tame
from ram_envs.datasets import MNIST_FILES, SPLITS, ImageDataset, Split
from ram_envs.datasets.idx import CorruptDatasetError, find_idx, read_idx

IMAGE_ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
# Whatever a file's name says, no others: Pillow hands PostScript to another program, for one.
IMAGE_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
GRAY_MODES = ("1", "L", "LA", "I", "I;16", "F")  # of Pillow
IDX_NAMES = tuple(file.name for file in MNIST_FILES)  # training and test images and labels
MOST_PADDED = 2**24  # pixels of the images of short files
SPLIT_NAMES: dict[Split, tuple[str, ...]] = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val"),
    "test": ("test", "testing"),
}

Pixels = npt.NDArray[np.uint8]
Part = tuple[Pixels, npt.NDArray[Any]]  # images and labels of a split


def read_images(path: str | Path) -> dict[Split, ImageDataset]:
    """The images in a folder or an .npz file, for each split.

    A folder holds a folder of images for each class, named after it, or folders "train",
    "validation" and "test" of such folders. Or it holds the four files of Fashion-MNIST or one of
    its kin, named as MNIST's; then the last sixth of the training images are for validation. Or it
    holds "images.npy" and "labels.npy", or folders "train", "validation" and "test" of these; they
    are memory-mapped, so the images may be larger than memory. An
    .npz holds arrays "images" and "labels", or these for each split, such as "train_images" and
    "train_labels". Without splits, the images serve every split whole.

    Raises:
        FileNotFoundError: if there is nothing at `path`, no images in it, or a split is missing.
        ValueError: for an image that cannot be read, or arrays that are no images and labels.
        DependencyNotInstalled: if Pillow is missing, for a folder of images.
    """
    try:
        return _read_images(Path(path).expanduser())
    except CorruptDatasetError:
        raise
    except ValueError as error:
        raise ValueError(tame(error)) from None


def _read_images(path: Path) -> dict[Split, ImageDataset]:
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist. Expected a folder of images, or an .npz.")
    if path.suffix == ".npy":
        raise ValueError(
            f"{path} is one array. Expected the path of its folder, with the images in images.npy "
            "and their classes in labels.npy."
        )
    if not path.is_dir():
        parts = _read_npz(path)
    elif folders := _npy_folders(path):
        parts = _map_npy_files(folders)
    elif any(find_idx(name, path) for name in IDX_NAMES):
        parts = _read_idx_files(path)
    else:
        parts = _read_folder(path)
    datasets = _with_one_shape(_checked(parts, path))
    for split, dataset in datasets.items():
        object.__setattr__(dataset, "_origin", (str(path.resolve()), split))
    return datasets


def from_dataset(dataset: Any, name: str = "custom") -> ImageDataset:
    """The images of a data set of PyTorch or Hugging Face, read once.

    Args:
        dataset: has a length, and gives pairs (image, label) or mappings with "image" (or "img")
            and "label". An image is a PIL image, an array (H, W[, C]) or a tensor (C, H, W), uint8
            or floats in [0, 1].
        name: what environments, checkpoints and results call it.

    Raises:
        TypeError, ValueError: for an entry that is no image with a label; names its index.
    """
    _check_is_indexed(dataset)
    images, labels = [], []
    for index in range(len(dataset)):
        image, label = _pair(_entry(dataset, index), index)
        images.append(_pixels(image, index))
        labels.append(_label(label, index))
    if not images:
        raise ValueError(f"{dataset!r} is empty: expected at least one image.")
    return ImageDataset(stack_images(images), np.array(labels, np.int64), name)


def stack_images(images: Sequence[Pixels]) -> Pixels:
    """Images (H, W) or (H, W, C) of any sizes, centered on black, to (N, H, W[, C]).

    Gray images among color ones become color.

    Raises:
        ValueError: if colors differ in their number of channels.
    """
    height = max(image.shape[0] for image in images)
    width = max(image.shape[1] for image in images)
    channels = 1
    for index, image in enumerate(images):
        number = image.shape[2] if image.ndim == 3 else 1
        if number != channels and min(number, channels) > 1:
            raise ValueError(
                f"image {index} has {number} channels, and one before it {channels}: expected as "
                "many in all images, or one in some. Leave out alpha: image[..., :3]."
            )
        channels = max(channels, number)
    shape = (len(images), height, width, channels)
    try:
        stacked = np.zeros(shape, np.uint8)
    except MemoryError:
        raise ValueError(
            f"{len(images):,} images are padded to {height} × {width}, as large as the largest, "
            f"and need {math.prod(shape):,} bytes: more than there are. Shrink or leave out the "
            "large ones."
        ) from None
    for place, image in zip(stacked, images, strict=True):
        top, left = (height - image.shape[0]) // 2, (width - image.shape[1]) // 2
        pixels = image if image.ndim == 3 else image[..., None]
        place[top : top + image.shape[0], left : left + image.shape[1]] = pixels
    return stacked if channels > 1 else stacked[..., 0]


def _checked(parts: dict[Split, Part], path: Path) -> dict[Split, ImageDataset]:
    """Data sets of all three splits, with the same classes; an error names the file."""
    missing = [split for split in SPLITS if split not in parts]
    if missing:
        raise FileNotFoundError(
            f"{path} has {', '.join(parts)} but no {', '.join(missing)}. Expected all three, "
            "images and labels, or none, to serve the same images for every split."
        )
    is_whole = len({id(part) for part in parts.values()}) == 1  # the same for every split
    datasets = {}
    for split in SPLITS:
        try:
            datasets[split] = ImageDataset(*parts[split], str(path))
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}{'' if is_whole else f', {split}'}: {error}") from None
    counts = [dataset.num_classes for dataset in datasets.values()]
    if len(set(counts)) > 1:
        raise ValueError(
            f"{path}: train, validation and test have {counts[0]}, {counts[1]} and {counts[2]} "
            "classes. Expected the same in each; add images of those that are missing."
        )
    return datasets


def _with_one_shape(datasets: dict[Split, ImageDataset]) -> dict[Split, ImageDataset]:
    """Each as large as the largest image of any, and in color if one is."""
    shapes = {(*dataset.images.shape[1:], 1)[:3] for dataset in datasets.values()}
    if len(shapes) == 1:
        return datasets
    channels = {shape[2] for shape in shapes} - {1}
    if len(channels) > 1:
        raise ValueError(
            f"{datasets['train'].name}: there are images of {min(channels)} and of {max(channels)} "
            "channels in its splits. Expected as many in each, or one in some."
        )
    frame = np.zeros([max(sides) for sides in zip(*shapes, strict=True)], np.uint8)
    return {
        split: ImageDataset(
            stack_images([*dataset.array, frame])[:-1], dataset.labels, dataset.name
        )
        for split, dataset in datasets.items()
    }


# --- folders ---------------------------------------------------------------------------------


def _read_folder(path: Path) -> dict[Split, Part]:
    folders = {entry.name.lower(): entry for entry in path.iterdir() if entry.is_dir()}
    found = {
        split: folders[name]
        for split, names in SPLIT_NAMES.items()
        for name in names
        if name in folders
    }
    if not found:
        return dict.fromkeys(SPLITS, _read_classes(path, _class_names(path)))
    names = _class_names(found.get("train", next(iter(found.values()))))
    for folder in found.values():
        if more := sorted(set(_class_names(folder)) - set(names)):
            raise ValueError(
                f"{folder / more[0]}: there is no such class in {found.get('train', path).name}. "
                "Expected the same folders in each split; add images of it there, or remove it."
            )
    return {split: _read_classes(folder, names) for split, folder in found.items()}


def _class_names(folder: Path) -> list[str]:
    names = sorted(
        entry.name
        for entry in folder.iterdir()
        if entry.is_dir() and not entry.name.startswith(".")  # such as .ipynb_checkpoints
    )
    if not names:
        raise FileNotFoundError(
            f"{folder} has no folders. Expected one for each class, with its images in it."
        )
    return names


def _read_classes(folder: Path, class_names: Sequence[str]) -> Part:
    images: list[Pixels] = []
    labels: list[int] = []
    num_bytes = 0
    for label, name in enumerate(class_names):
        paths = [
            path
            for path in sorted((folder / name).rglob("*"))
            if path.suffix.lower() in IMAGE_ENDINGS
            and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        ]
        if not paths:
            raise FileNotFoundError(
                f"{folder / name} has no images. Expected files that end in "
                f"{', '.join(IMAGE_ENDINGS)}; remove the folder if there is no such class."
            )
        for path in paths:
            images.append(_read_image(path))
            num_bytes += path.stat().st_size
        labels += [label] * len(paths)
    _check_padded(images, num_bytes, folder)
    return stack_images(images), np.array(labels, np.int64)


def _check_padded(images: Sequence[Pixels], num_bytes: int, folder: Path) -> None:
    """Raise ValueError for files that would fill the memory once all are as large as the largest.

    A blank picture shrinks to a thousandth; what is shorter yet was made to be large, or has a
    few images among it that are far larger than the others.
    """
    height, width = (max(image.shape[axis] for image in images) for axis in (0, 1))
    padded = len(images) * height * width
    if padded > MOST_PADDED and padded > 1000 * num_bytes:
        raise ValueError(
            f"{folder} has {len(images):,} images of {num_bytes:,} bytes, which would be padded to "
            f"{height} × {width} pixels each, as large as the largest. Shrink or leave out the "
            "large ones."
        )


def _read_image(path: Path) -> Pixels:
    try:
        from PIL import Image
    except ImportError as error:
        raise DependencyNotInstalled(
            'Reading images needs Pillow: run `pip install "ram-gym[play]"`.'
        ) from error
    try:
        if path.exists() and not path.is_file():
            raise ValueError("it is no file")
        with warnings.catch_warnings():
            # An image too large for a photo: Pillow warns of it, and refuses only twice as much.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=IMAGE_FORMATS) as image:
                _check_unpacked(image, path.stat().st_size)
                return _from_pil(image)
    except Exception as error:  # Pillow raises many kinds for a damaged file
        raise ValueError(f"{path} cannot be read as an image: {error}") from None


def _check_unpacked(image: Any, num_bytes: int) -> None:
    """Raise ValueError for a picture of few bytes that would fill the memory; a photo is longer."""
    pixels = image.width * image.height
    each = 4 if image.mode in GRAY_MODES[:2] else 16  # bytes, while it is read
    if pixels * each > MOST_UNPACKED and pixels > 100 * num_bytes:
        raise ValueError(
            f"it would have {image.width} × {image.height} pixels, too many for a file of "
            f"{num_bytes:,} bytes. If they are right, save it uncompressed, as BMP"
        )


def _from_pil(image: Any) -> Pixels:
    """Gray images (H, W), others (H, W, 3)."""
    mode = "L" if image.mode in GRAY_MODES else "RGB"
    if image.mode.startswith("I;16"):  # 16 bits; PIL would clip them
        return (np.asarray(image) >> 8).astype(np.uint8)
    return np.asarray(image.convert(mode), np.uint8)


# --- .npz ------------------------------------------------------------------------------------


def _read_npz(path: Path) -> dict[Split, Part]:
    try:
        with path.open("rb") as file:
            if not zipfile.is_zipfile(file):
                raise ValueError(
                    f"{path} is no .npz of arrays, or cut short. "
                    "np.savez(path, images=…, labels=…) writes one."
                )
            file.seek(0)
            with np.load(file, allow_pickle=False) as arrays:
                _check_npz(arrays.zip, path)
                return _npz_parts(arrays, path)
    except ValueError as error:
        if str(path) in str(error):
            raise
        raise ValueError(f"{path} is damaged: {error}") from None
    except Exception as error:  # zipfile raises many kinds for a damaged file, or an encrypted one
        raise ValueError(f"{path} is damaged: {error}") from None


def _check_npz(archive: zipfile.ZipFile, path: Path) -> None:
    """Raise ValueError for arrays that are not there: numpy would allocate what a header says."""
    for member in archive.infolist():
        if member.file_size > most_unpacked(path.stat().st_size):
            raise ValueError(
                f"{path}: {member.filename} would have {member.file_size:,} bytes, too many for a "
                "file so short. If they are right, write it with np.savez, uncompressed."
            )
        with archive.open(member) as file:
            try:
                header = _read_npy_header(file)
            except ValueError as error:
                raise ValueError(f"{path} is damaged: {member.filename}: {error}") from None
            if header is None:
                continue  # numpy makes bytes of it, and we name it
            shape, dtype = header
            there = member.file_size - file.tell()
        if not dtype.hasobject and math.prod(shape) * dtype.itemsize != there:
            raise ValueError(
                f"{path} is damaged: {member.filename} says {shape} {dtype}, but {there:,} bytes "
                "are there."
            )


def _read_npy_header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]] | None:
    """Shape and dtype of the array that follows, or None if the file is no .npy.

    Raises:
        ValueError: for a header that is damaged.
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
    except Exception as error:  # numpy reads it as Python, which raises many kinds
        raise ValueError(f"its header cannot be read: {error}") from None
    return shape, dtype


def _npz_parts(arrays: Mapping[str, Any], path: Path) -> dict[Split, Part]:
    if {"images", "labels"} <= set(arrays):
        return dict.fromkeys(SPLITS, _arrays(arrays, "images", "labels", path))
    parts = {
        split: _arrays(arrays, f"{name}_images", f"{name}_labels", path)
        for split, names in SPLIT_NAMES.items()
        for name in names
        if {f"{name}_images", f"{name}_labels"} <= set(arrays)
    }
    if not parts:
        raise ValueError(
            f"{path} holds {', '.join(arrays) or 'nothing'}. Expected arrays images and labels, or "
            "train_images and train_labels, val_images, …"
        )
    return parts


def _arrays(arrays: Mapping[str, Any], images_name: str, labels_name: str, path: Path) -> Part:
    try:
        images, labels = arrays[images_name], arrays[labels_name]
    except ValueError as error:  # an array of Python objects, which could run code
        raise ValueError(f"{path}: {error}. Expected arrays of numbers.") from None
    if np.ndim(labels) == 2 and labels.shape[1] == 1:  # a column, as some collections have it
        labels = labels[:, 0]
    return images, labels


# --- .npy ------------------------------------------------------------------------------------


def _npy_folders(path: Path) -> dict[Split, Path]:
    """The folders that hold each split's images.npy."""
    if (path / "images.npy").exists():
        return dict.fromkeys(SPLITS, path)
    return {
        split: path / name
        for split, names in SPLIT_NAMES.items()
        for name in names
        if (path / name / "images.npy").exists()
    }


def _map_npy_files(folders: Mapping[Split, Path]) -> dict[Split, Part]:
    mapped = {folder: _map_part(folder) for folder in folders.values()}
    shapes = {images.shape[1:] for images, _ in mapped.values()}
    if len(shapes) > 1:  # others would be padded, but these may be larger than memory
        raise ValueError(
            f"{' and '.join(map(str, mapped))} hold images of {sorted(shapes)}. Expected one "
            "shape in all splits; pad them."
        )
    return {split: mapped[folder] for split, folder in folders.items()}


def _map_part(folder: Path) -> Part:
    if not (folder / "labels.npy").exists():
        raise FileNotFoundError(
            f"{folder} has images.npy but no labels.npy. Expected the images' classes there, (N,) "
            "integers; np.save writes them."
        )
    return _map_npy(folder / "images.npy"), np.asarray(_map_npy(folder / "labels.npy"))


def _map_npy(path: Path) -> npt.NDArray[Any]:
    try:
        mapped: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error}") from None
    except Exception as error:  # numpy reads the header as Python, which raises many kinds
        raise ValueError(f"{path} cannot be read: {_missing_bytes(path) or error}") from None
    return mapped


def _missing_bytes(path: Path) -> str | None:
    """That an .npy is cut short, in words, if it is."""
    with path.open("rb") as file:
        try:
            header = _read_npy_header(file)
        except ValueError:
            return None
        if header is None:
            return None
        shape, dtype = header
        expected = file.tell() + math.prod(shape) * dtype.itemsize
    found = path.stat().st_size
    if found >= expected:
        return None
    return (
        f"it is cut short. Its header says {dtype} of shape {shape}, so {expected:,} bytes are "
        f"expected, but {found:,} are there; copy or write it again."
    )


# --- IDX -------------------------------------------------------------------------------------


def _read_idx_files(folder: Path) -> dict[Split, Part]:
    paths = [find_idx(name, folder) for name in IDX_NAMES]
    missing = [name for name, path in zip(IDX_NAMES, paths, strict=True) if path is None]
    if missing:
        raise FileNotFoundError(
            f"{folder} has files of a data set like MNIST, but lacks {', '.join(missing)}. "
            "Expected all four, with or without .gz."
        )
    images, labels, test_images, test_labels = [read_idx(path) for path in paths if path]
    if len(images) != len(labels):
        raise ValueError(
            f"{paths[0]} has {len(images)} images, but {paths[1]} {len(labels)} labels: expected "
            "one for each."
        )
    n = len(images) - max(1, len(images) // 6)  # 50,000 of 60,000, as of MNIST
    return {
        "train": (images[:n], labels[:n]),
        "validation": (images[n:], labels[n:]),
        "test": (test_images, test_labels),
    }


# --- data sets of other libraries ------------------------------------------------------------


def _check_is_indexed(dataset: Any) -> None:
    kind = type(dataset).__name__
    if isinstance(dataset, Mapping):
        raise TypeError(
            f"the data set is a {kind} of {', '.join(map(str, dataset))}: expected one split of "
            f"it, such as dataset[{next(iter(dataset), 'train')!r}]."
        )
    if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
        raise TypeError(
            f"the data set is a {kind}: expected one with a length and an entry for each index. "
            "list(…) makes one of an iterable; a DataLoader has one in its .dataset."
        )


def _entry(dataset: Any, index: int) -> Any:
    try:
        return dataset[index]
    except Exception as error:  # whatever the library raises where a file is damaged, say
        raise ValueError(f"entry {index} of the data set cannot be read: {error}") from error


def _pair(entry: Any, index: int) -> tuple[Any, Any]:
    what = f"a {type(entry).__name__}"
    if isinstance(entry, Mapping):
        key = next((key for key in ("image", "img") if key in entry), None)
        if key is not None and "label" in entry:
            return entry[key], entry["label"]
        what += f" of {', '.join(map(str, entry))}"
    elif isinstance(entry, Iterable) and not isinstance(entry, str):
        values = tuple(entry)
        if len(values) == 2:
            return values
        what += f" of length {len(values)}"
    raise TypeError(
        f"entry {index} of the data set is {what}: expected a pair (image, label), or a mapping "
        'with "image" (or "img") and "label". A column of a Hugging Face data set is renamed with '
        'dataset.rename_column(old_name, "label").'
    )


def _pixels(image: Any, index: int) -> Pixels:
    is_tensor = hasattr(image, "numpy")
    try:
        if hasattr(image, "convert"):  # a PIL image, perhaps of a file that was not read so far
            return _from_pil(image)
        pixels = np.asarray(image.numpy() if is_tensor else image)
    except Exception as error:
        raise ValueError(f"image {index} cannot be read: {error}") from error
    what = f"image {index} has shape {pixels.shape}, dtype {pixels.dtype}, {type(image).__name__}"
    if pixels.dtype.kind not in "biuf":
        raise TypeError(f"{what}: expected uint8, or floats in [0, 1]. If it is a path, open it.")
    colors = (1, 3, 4)
    if pixels.ndim == 3 and (is_tensor or pixels.shape[2] not in colors):
        pixels = np.moveaxis(pixels, 0, -1)  # (C, H, W), as PyTorch has it
    if pixels.ndim not in (2, 3) or pixels.size == 0:
        raise ValueError(f"{what}: expected (H, W), (H, W, C), or a tensor (C, H, W).")
    if pixels.ndim == 3 and not is_tensor and pixels.shape[2] not in colors:
        raise ValueError(f"{what}: expected 1, 3 or 4 channels, (H, W, C). Or give a tensor.")
    if pixels.dtype.kind == "f":
        lowest, highest = float(pixels.min()), float(pixels.max())
        if np.isnan(lowest):
            raise ValueError(f"image {index} contains NaN: expected floats in [0, 1], or uint8.")
        if lowest < 0 or highest > 1:
            raise ValueError(
                f"image {index} has values from {lowest:g} to {highest:g}: expected floats in "
                "[0, 1], or uint8. Leave out a transform that normalizes."
            )
        return np.round(pixels * 255).astype(np.uint8)
    if pixels.dtype == np.bool_:
        return pixels.astype(np.uint8) * np.uint8(255)
    if pixels.min() < 0 or pixels.max() > 255:
        raise ValueError(
            f"image {index} is {pixels.dtype}, {pixels.min()} to {pixels.max()}: expected integers "
            "from 0 to 255, or floats in [0, 1]."
        )
    return pixels.astype(np.uint8)


def _label(label: Any, index: int) -> int:
    value = np.asarray(label.numpy() if hasattr(label, "numpy") else label)
    if value.size != 1 or not np.issubdtype(value.dtype, np.integer):
        raise TypeError(f"label {index} is {label!r}: expected an integer, the image's class.")
    if value.item() < 0:
        raise ValueError(
            f"label {index} is {value.item()}: expected a class from 0. Some test sets have none."
        )
    return int(value.item())
