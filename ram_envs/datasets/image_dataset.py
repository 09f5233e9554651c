"""What a data set is: images, the class of each, and what the classes are called.

No loader is imported here. A loader stamps what it makes with how to load it again, so that a data
set can be sent to another process in a few bytes.
"""

from __future__ import annotations

import functools
import hashlib
import math
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ram_envs.datasets.foreign import read_foreign
from ram_envs.datasets.pixels import WHITE, Background, PictureWarning, check_background
from ram_envs.datasets.sharing import SharedArray, can_share, find_mapped
from ram_envs.datasets.source import MAX_COPIED_BYTES, ImageSource, is_lazy, read_pixels

_RENUMBER = "np.unique(labels, return_inverse=True)[1]"


@dataclass(frozen=True, eq=False, repr=False, init=False)
class ImageDataset:
    """Images and their classes, immutable: a copy or deep copy of it is itself.

    The arrays are read-only views of those given, without a copy, so images may be memory-mapped.
    Where the canvas is the image itself, a large image is read by window, so images may also be
    lazy, such as a `zarr.Array` (see `ram_envs.datasets.source`), and larger than memory.
    Worker processes share one copy, whether forked or spawned (on Windows each gets its own), or
    map the same file.

    Args:
        images: (N, H, W) or (N, H, W, C), uint8, 0 black and 255 white.
        labels: (N,), the class of each image, 0 … n−1, of any integer type.
        name: what environments, checkpoints and results call the data set.
        num_classes: n; by default the number of classes that occur, which must be all of 0 … n−1.
            With `num_classes` or `class_names` some may be missing.
        class_names: the name of each class, a sequence or an array of str; by default "0", "1", ….

    Warns:
        PictureWarning: if no value of the images is above 1.

    Raises:
        TypeError: if the images, the labels or a name have the wrong type.
        ValueError: if shapes or values do not fit.
    """

    images: npt.NDArray[np.uint8] | ImageSource
    labels: npt.NDArray[np.int64]
    name: str
    class_names: tuple[str, ...]
    _reload: tuple[Callable[..., Any], tuple[Any, ...]] | None

    def __init__(
        self,
        images: npt.NDArray[np.uint8] | ImageSource,
        labels: npt.NDArray[Any],
        name: str = "custom",
        num_classes: int | None = None,
        class_names: Sequence[str] | npt.NDArray[Any] | None = None,
    ) -> None:
        if not isinstance(name, str):
            raise TypeError(f"name is {name!r}. Pass a str, such as 'custom'.")
        num_classes = _check_class_names(num_classes, class_names)
        _check_images(images)
        _check_labels(labels, images.shape[0], num_classes)
        if isinstance(images, np.ndarray):
            _warn_of_masks(images, name)
            images = _read_only(images)
        if class_names is None:
            class_names = [str(k) for k in range(num_classes or int(labels.max()) + 1)]
        vars(self).update(
            images=images,
            labels=_read_only(labels.astype(np.int64, copy=False)),
            name=name,
            class_names=tuple(map(str, class_names)),
            _reload=None,
        )

    def __len__(self) -> int:
        return self.images.shape[0]

    def __repr__(self) -> str:
        return f"ImageDataset({self.name!r}, {self.images.shape}, {self.num_classes} classes)"

    def __copy__(self) -> ImageDataset:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> ImageDataset:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        images: Any = self.images
        labels: Any = self.labels
        if isinstance(images, np.ndarray):  # the pickle of lazy images says where they are kept
            mapped = find_mapped(images)
            if mapped is not None:
                images = mapped
            elif can_share():
                images, labels = self._shared
            elif self._reload is not None:
                return _load_again, (*self._reload, self.fingerprint, self.class_names)
        state = {key: vars(self)[key] for key in ("_reload", "fingerprint") if key in vars(self)}
        return ImageDataset, (images, labels, self.name, None, self.class_names), state

    @classmethod
    def from_dataset(
        cls,
        dataset: Any,
        name: str = "custom",
        background: Background = WHITE,
        num_classes: int | None = None,
        class_names: Sequence[str] | npt.NDArray[Any] | None = None,
    ) -> ImageDataset:
        """Read a data set of PyTorch or Hugging Face once, into memory.

        Args:
            dataset: has a length, and yields pairs (image, label) or mappings with "image" (or
                "img") and "label". An image is a PIL image, an array (H, W[, C]) or a tensor
                (C, H, W), uint8 or floats in [0, 1]; `ram_envs.datasets.pixels.to_pixels` states
                all.
            name: what environments, checkpoints and results call it.
            background: what shows through transparent parts: 0 (black) … 255 (white), or (red,
                green, blue).
            num_classes: the number of classes, where some have no image.
            class_names: the name of each class; by default those in `.features` or `.classes`.

        Warns:
            PictureWarning: if pictures may not be what their owner expects.

        Raises:
            TypeError, ValueError: if an entry is not an image with a label; its index is named.
                Or if another argument does not fit.
        """
        _check_class_names(num_classes, class_names)
        images, labels, found_names, _ = read_foreign(dataset, check_background(background))
        names = found_names if class_names is None else class_names
        return cls(images, labels, name, num_classes, names)

    @functools.cached_property
    def _shared(self) -> tuple[SharedArray, SharedArray]:
        return SharedArray(self.array), SharedArray(self.labels)

    @property
    def array(self) -> npt.NDArray[np.uint8]:
        """The images as an array, from which canvases can be drawn.

        Raises:
            TypeError: if the images are lazy.
        """
        if not isinstance(self.images, np.ndarray):
            raise TypeError(
                f"the images of {self.name!r} are a {type(self.images).__name__}, of which only "
                "windows are read. Leave out canvas_size, num_clutter, distortion, elastic and "
                "mirror, or read the images first: ImageDataset(images[:], labels)."
            )
        return self.images

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @functools.cached_property
    def fingerprint(self) -> str:
        """Hash of shape, labels and images: 16 hex digits, the same on every machine.

        The first access reads all images. MNIST and the digits have fixed fingerprints instead.
        """
        digest = hashlib.sha256(str(self.images.shape).encode())
        digest.update(self.labels.astype("<i8").tobytes())
        rows = max(1, 2**24 // math.prod(self.images.shape[1:]))  # about 16 MiB at a time
        for start in range(0, len(self), rows):
            shape = (min(rows, len(self) - start), *self.images.shape[1:])
            block = read_pixels(self.images, slice(start, start + rows), shape)
            digest.update(block.tobytes())
        return digest.hexdigest()[:16]


def stamp(
    dataset: ImageDataset,
    reload: tuple[Callable[..., Any], tuple[Any, ...]],
    fingerprint: str | None = None,
) -> ImageDataset:
    """Let a data set be pickled as a call that loads it; return it.

    Args:
        dataset: fresh from a loader.
        reload: a function and its arguments, which return the same data set.
        fingerprint: replaces the hash of the contents, where these are known.
    """
    vars(dataset)["_reload"] = reload
    if fingerprint is not None:
        vars(dataset)["fingerprint"] = fingerprint
    return dataset


def _load_again(
    load: Callable[..., ImageDataset],
    arguments: tuple[Any, ...],
    fingerprint: str,
    class_names: tuple[str, ...],
) -> ImageDataset:
    """Unpickle a data set that a loader made.

    Raises:
        ValueError: if its files have changed since it was pickled.
    """
    dataset = load(*arguments)
    if (dataset.fingerprint, dataset.class_names) != (fingerprint, class_names):
        raise ValueError(
            f"{dataset.name} has changed since the data set was pickled. Restore its files, or "
            "load it again with ram_envs.datasets.load_dataset."
        )
    return dataset


def _check_class_names(num_classes: Any, class_names: Any) -> int | None:
    """Return the number of classes that the two state, or None."""
    is_integer = isinstance(num_classes, (int, np.integer)) and not isinstance(num_classes, bool)
    if num_classes is not None and not (is_integer and num_classes >= 1):
        raise ValueError(f"num_classes={num_classes!r} is not a positive integer.")
    if class_names is None:
        return None if num_classes is None else int(num_classes)
    if isinstance(class_names, np.ndarray):
        is_sequence = class_names.ndim == 1
    else:
        is_sequence = isinstance(class_names, Sequence) and not isinstance(class_names, str)
    if not is_sequence or not all(isinstance(name, str) for name in class_names):
        raise TypeError(f"class_names={class_names!r} is not a sequence of str, one per class.")
    count = len(class_names)
    if len(set(class_names)) < count:
        repeated = Counter(class_names).most_common(1)[0][0]
        raise ValueError(f"class_names={class_names!r} repeats {repeated!r}. Give each name once.")
    if count not in (num_classes or count, num_classes):
        raise ValueError(
            f"class_names={class_names!r} does not have one name for each of the {num_classes} "
            "classes."
        )
    return count


def _check_images(images: Any) -> None:
    if not isinstance(images, np.ndarray) and not is_lazy(images):
        raise TypeError(
            f"images is a {type(images).__name__}, not a numpy array of uint8, (N, H, W) or "
            "(N, H, W, C). np.asarray(images) makes one; "
            "ImageDataset.from_dataset(list(zip(images, labels))) pads images of different sizes."
        )
    if np.issubdtype(images.dtype, np.floating):
        if isinstance(images, np.ndarray) and images.ndim > 1 and np.isnan(images).any():
            index = np.argwhere(np.isnan(images))[0, 0]
            raise ValueError(
                f"image {index} contains NaN. Repair such images or leave them out; then convert "
                "all to uint8 (0 … 255)."
            )
        raise TypeError(
            f"images are {images.dtype}, not uint8 (0 … 255). Values in [0, 1] are converted by "
            "(images * 255).round().astype(np.uint8), values in [0, 255] by "
            "images.round().astype(np.uint8)."
        )
    if images.dtype == np.object_:
        raise TypeError(
            "images are Python objects, not uint8 (0 … 255). If they are images of different "
            "sizes, ImageDataset.from_dataset(list(zip(images, labels))) pads them."
        )
    if images.dtype == np.bool_:
        raise TypeError("images are bool, not uint8 (0 … 255). Pass images.astype(np.uint8) * 255.")
    if images.dtype != np.uint8:
        raise TypeError(
            f"images are {images.dtype}, not uint8 (0 … 255). If all values are in that range, "
            "pass images.astype(np.uint8)."
        )
    if len(images.shape) not in (3, 4):
        raise ValueError(
            f"images have shape {images.shape}, not (N, H, W) or (N, H, W, C). Pass images[None] "
            "for a single image, images.reshape(N, H, W) for flat ones."
        )
    if 0 in images.shape:
        raise ValueError(
            f"images have shape {images.shape}, so they contain no pixels. Give at least one image "
            "of at least 1 × 1 pixels."
        )
    if len(images.shape) == 4 and images.shape[1] in (1, 3) and images.shape[3] > 4:
        raise ValueError(
            f"images have shape {images.shape}, which looks like (N, C, H, W). Pass "
            "np.moveaxis(images, 1, -1), which is (N, H, W, C)."
        )


def _warn_of_masks(images: npt.NDArray[np.uint8], name: str) -> None:
    """Warn if the values are 0 and 1, unless that would read a file or take seconds."""
    is_small = images.nbytes <= MAX_COPIED_BYTES and find_mapped(images) is None
    if is_small and images.max() == 1:
        warnings.warn(
            f"No value of the images of {name!r} is above 1, so they are almost black; 255 is "
            "white. Multiply masks by 255.",
            PictureWarning,
            stacklevel=3,  # the caller of ImageDataset
        )


def _check_labels(labels: Any, num_images: int, num_classes: int | None) -> None:
    if not isinstance(labels, np.ndarray):
        raise TypeError(
            f"labels is a {type(labels).__name__}, not a numpy array of integers, (N,). "
            "np.asarray(labels) makes one."
        )
    if not np.issubdtype(labels.dtype, np.integer):
        for index, label in enumerate(labels.flat):
            if label is None or (isinstance(label, (float, np.floating)) and np.isnan(label)):
                raise ValueError(f"label {index} is {label}. Leave out images without a class.")
        raise TypeError(
            f"labels are {labels.dtype}, not integers 0 … n−1. {_RENUMBER} numbers the classes "
            "that occur."
        )
    if labels.ndim != 1:
        raise ValueError(
            f"labels have shape {labels.shape}, not (N,), one class for each image. Pass "
            "labels[:, 0] for a column, labels.argmax(axis=1) for one-hot labels."
        )
    if len(labels) != num_images:
        raise ValueError(
            f"there are {num_images} images but {len(labels)} labels. Give one label per image."
        )
    if labels.min() < 0:
        raise ValueError(
            f"label {np.argmax(labels < 0)} is {labels[labels < 0][0]}, but classes are numbered "
            f"from 0. Leave out images without a label, or number the classes with {_RENUMBER}."
        )
    if num_classes is not None:
        if labels.max() >= num_classes:
            raise ValueError(
                f"label {np.argmax(labels)} is {labels.max()}, but there are {num_classes} "
                f"classes, 0 … {num_classes - 1}. Correct num_classes, class_names or the labels."
            )
        return
    classes = np.unique(labels)
    if int(classes[-1]) != len(classes) - 1:
        missing = int(np.argmax(classes != np.arange(len(classes), dtype=classes.dtype)))
        raise ValueError(
            f"labels go up to {classes[-1]} (label {np.argmax(labels)}), but no image has class "
            f"{missing}. If that is right, pass num_classes, or class_names in an .npz or "
            f"class_names.npy. Else add images of it, or number the classes with {_RENUMBER}."
        )


def _read_only(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return a view that cannot be written through; the array itself stays writable."""
    view = array.view(np.ndarray)
    view.flags.writeable = False
    return view
