"""Data sets of other libraries, such as PyTorch's and Hugging Face's, as arrays."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ram_envs.datasets.pixels import (
    Background,
    Notes,
    PictureWarning,
    Pixels,
    stack_images,
    to_pixels,
    too_large,
)
from ram_envs.datasets.source import LabeledImages


def read_foreign(dataset: Any, background: Background) -> LabeledImages:
    """Return the images, labels and class names of a data set with a length and entries.

    Warns:
        PictureWarning: if pictures may not be what their owner expects.

    Raises:
        TypeError, ValueError: if an entry is not an image with a label; its index is named.
    """
    _check_is_indexed(dataset)
    class_names = _class_names(dataset)
    images: list[Pixels] = []
    labels, notes = [], Notes()
    for index in range(len(dataset)):
        image, label = _pair(_entry(dataset, index), index)
        try:
            images.append(to_pixels(image, background, notes, f"image {index}"))
        except (TypeError, ValueError) as error:
            raise type(error)(f"image {index} cannot be used: {error}") from None
        except MemoryError:
            raise too_large(images, len(dataset)) from None
        except Exception as error:  # Pillow raises many kinds for a damaged file
            raise ValueError(f"image {index} cannot be read: {error}") from error
        labels.append(_label(label, index))
    if not images:
        raise ValueError(f"{dataset!r} is empty. Give at least one image.")
    for note in notes.lines():
        warnings.warn(note, PictureWarning, stacklevel=3)  # the caller of from_dataset
    return LabeledImages(stack_images(images), np.array(labels, np.int64), class_names)


def _check_is_indexed(dataset: Any) -> None:
    kind = type(dataset).__name__
    if isinstance(dataset, Mapping):
        raise TypeError(
            f"the data set is a {kind} of {', '.join(map(str, dataset))}. Pass one of these "
            f"splits, such as dataset[{next(iter(dataset), 'train')!r}]."
        )
    if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
        raise TypeError(
            f"the data set is a {kind}, without a length and entries by index. list(…) makes a "
            "list of an iterable; a DataLoader has its data set in .dataset."
        )


def _entry(dataset: Any, index: int) -> Any:
    try:
        return dataset[index]
    except Exception as error:  # whatever the library raises, for a damaged file for example
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
        f"entry {index} of the data set is {what}, neither a pair (image, label) nor a mapping "
        'with "image" (or "img") and "label". Rename a column of a Hugging Face data set with '
        'dataset.rename_column(old_name, "label").'
    )


def _label(label: Any, index: int) -> int:
    value = np.asarray(label.numpy() if hasattr(label, "numpy") else label)
    if value.size != 1 or not np.issubdtype(value.dtype, np.integer):
        raise TypeError(f"label {index} is {label!r}. Give an integer, the image's class.")
    if value.item() < 0:
        raise ValueError(
            f"label {index} is {value.item()}, but classes are numbered from 0. Some test sets "
            "have no labels; use another split."
        )
    return int(value.item())


def _class_names(dataset: Any) -> tuple[str, ...] | None:
    """Return the names that torchvision (.classes) or Hugging Face (.features) keeps, if any."""
    features = getattr(dataset, "features", None)
    label = features.get("label") if isinstance(features, Mapping) else None
    kept: tuple[Any, Any] = getattr(label, "names", None), getattr(dataset, "classes", None)
    for names in kept:
        listed = names.tolist() if hasattr(names, "tolist") else names  # an array or a tensor
        if isinstance(listed, Sequence) and not isinstance(listed, (str, bytes)) and listed:
            return tuple(map(str, listed))
    # A torch.utils.data.Subset keeps them one level deeper.
    return _class_names(dataset.dataset) if hasattr(dataset, "dataset") else None
