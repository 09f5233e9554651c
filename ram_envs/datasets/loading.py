"""Images with labels: MNIST, the digits inside the package, or the user's own arrays.

`load_dataset` turns what a user writes as ``dataset=`` into an `ImageDataset`. MNIST is looked for
in ``$RAM_ENVS_DATA_DIR/mnist/``, then in the user's cache, then downloaded; whatever its source,
a file is used only if the sha256 of its uncompressed contents is the one known for it.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import hashlib
import importlib.resources
import importlib.util
import io
import math
import os
import queue
import sys
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urljoin

import numpy as np
import numpy.typing as npt

from ram_envs.atomic_files import write_bytes
from ram_envs.datasets.idx import CorruptDatasetError as CorruptDatasetError
from ram_envs.datasets.idx import find_idx, gunzip, is_gzip, parse_idx
from ram_envs.datasets.sharing import SharedArray, can_share, find_mapped
from ram_envs.datasets.source import ImageSource, is_lazy

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")

DATA_DIR_VARIABLE = "RAM_ENVS_DATA_DIR"
MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
CONNECT_SECONDS, READ_SECONDS = 3.0, 30.0
FILE_SECONDS = 900.0  # for a whole file, of 10 MB at most
ATTEMPTS, PAUSE_SECONDS = 3, 1.0  # where a transfer breaks off

NUM_VALIDATION = 10_000  # the last of MNIST's 60,000 training images
DIGITS_SIZES = (1297, 200, 300)  # train, validation, test


class DatasetUnavailableError(OSError):
    """A data set is not on this machine and could not be downloaded."""


class DatasetFallbackWarning(UserWarning):
    """``dataset="auto"`` serves the digits, because MNIST could not be had."""


@dataclass(frozen=True, eq=False, repr=False)
class ImageDataset:
    """Images and their classes, immutable: a copy or deep copy of it is itself.

    The arrays are read-only views of those given, without a copy, so images may be memory-mapped.
    Where the canvas is the image itself, a large image is read by window, so images may also be
    lazy, such as a `zarr.Array` (see `ram_envs.datasets.source`), and larger than memory.
    Worker processes share one copy, whether they are forked or started anew (on Windows each gets
    its own), or map the same file.
    A data set that is not one of the package's own serves every split whole.

    Attributes:
        images: (N, H, W) or (N, H, W, C), uint8, 0 black and 255 white.
        labels: (N,), the class of each image, 0 … n−1, int64 (any integer type is accepted).
        name: What environments, checkpoints and results call it.
    """

    images: npt.NDArray[np.uint8] | ImageSource
    labels: npt.NDArray[np.int64]
    name: str = "custom"
    # The split of the package's own data set that this is; None for a user's arrays.
    _known_split: Split | None = field(default=None, init=False)
    # The path and split that it was read from; None for arrays.
    _origin: tuple[str, Split] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise TypeError(f"name is {self.name!r}, but a str is expected, such as 'custom'.")
        _check_images(self.images)
        _check_labels(self.labels, self.images.shape[0])
        if isinstance(self.images, np.ndarray):
            object.__setattr__(self, "images", _read_only(self.images))
        object.__setattr__(self, "labels", _read_only(self.labels.astype(np.int64, copy=False)))

    def __len__(self) -> int:
        return self.images.shape[0]

    def __repr__(self) -> str:
        return f"ImageDataset({self.name!r}, {self.images.shape}, {self.num_classes} classes)"

    def __copy__(self) -> ImageDataset:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> ImageDataset:
        return self

    def __reduce__(self) -> tuple[Callable[..., ImageDataset], tuple[Any, ...]]:
        # A known data set travels as its name: each process loads it once, however many
        # environments are sent there. Another is shared with the processes that are started with
        # it; in a file, say, it is its path, if it has one.
        if self._known_split is not None:
            return load_dataset, (self.name, self._known_split)
        if not isinstance(self.images, np.ndarray):  # its own pickle says where it is kept
            return ImageDataset, (self.images, self.labels, self.name)
        mapped = find_mapped(self.images)
        if mapped is not None:
            return ImageDataset, (mapped, self.labels, self.name)
        if can_share():
            return ImageDataset, (*self._shared, self.name)
        if self._origin is not None:
            return load_dataset, self._origin
        return ImageDataset, (self.images, self.labels, self.name)

    @classmethod
    def from_dataset(cls, dataset: Any, name: str = "custom") -> ImageDataset:
        """Read a PyTorch or Hugging Face data set; see `datasets.pictures.from_dataset`."""
        from ram_envs.datasets.pictures import from_dataset

        return from_dataset(dataset, name)

    @functools.cached_property
    def _shared(self) -> tuple[SharedArray, SharedArray]:
        return SharedArray(self.array), SharedArray(self.labels)

    @property
    def array(self) -> npt.NDArray[np.uint8]:
        """The images where they are an array, from which canvases can be drawn.

        Raises:
            TypeError: if they are lazy.
        """
        if not isinstance(self.images, np.ndarray):
            raise TypeError(
                f"the images of {self.name!r} are a {type(self.images).__name__}, which is read by "
                "window, so they are shown as they are: leave out canvas_size, num_clutter, "
                "distortion and elastic, or read them first, ImageDataset(images[:], labels)."
            )
        return self.images

    @functools.cached_property
    def num_classes(self) -> int:
        return int(self.labels.max()) + 1

    @functools.cached_property
    def fingerprint(self) -> str:
        """16 hex digits that tell this data set from others, the same on every machine.

        For a user's arrays it is a hash of shapes and contents, which reads all images once, but
        only where canvases that are drawn are fixed.
        """
        if self._known_split is not None:
            return hashlib.sha256(f"{self.name}/{self._known_split}".encode()).hexdigest()[:16]
        digest = hashlib.sha256(str(self.images.shape).encode())
        digest.update(self.labels.astype("<i8").tobytes())
        rows = max(1, 2**24 // math.prod(self.images.shape[1:]))  # about 16 MiB at a time
        for start in range(0, len(self), rows):
            digest.update(np.asarray(self.images[start : start + rows]).tobytes())
        return digest.hexdigest()[:16]


def load_dataset(
    dataset: str | Path | ImageDataset | Sequence[ImageDataset], split: Split
) -> ImageDataset:
    """The images of one split, loaded once in a process and shared by all who ask.

    Args:
        dataset: "mnist"; "digits"; "auto", which is MNIST if it can be had, else the digits with
            a `DatasetFallbackWarning`; the path of a folder or of an .npz, see
            `ram_envs.datasets.pictures.read_images`; an `ImageDataset`, which serves every split
            whole; or three of them, for train, validation and test.
        split: "train", "validation" or "test".

    Raises:
        FileNotFoundError: ``RAM_ENVS_DATA_DIR`` is set, but MNIST is not there.
        DatasetUnavailableError: "mnist" is not on this machine and could not be downloaded.
        CorruptDatasetError: A file of MNIST is damaged, or is another file.
    """
    if split not in SPLITS:
        raise ValueError(f"split={split!r} does not exist; {_choices(split, SPLITS)}")
    if isinstance(dataset, ImageDataset):
        return dataset
    if isinstance(dataset, (str, Path)):
        if dataset in _LOADERS:
            return _load_known(str(dataset))[split]
        path = Path(dataset).expanduser()
        if isinstance(dataset, Path) or path.suffix == ".npz" or path.exists():
            return _load_path(str(path.resolve()), str(dataset))[split]
        raise ValueError(
            f"dataset={dataset!r} does not exist; {_choices(dataset, tuple(_LOADERS))} "
            "For images of your own, give the path of a folder or an .npz, or pass "
            "ImageDataset(images, labels)."
        )
    if isinstance(dataset, (tuple, list)):
        _check_three_splits(dataset)
        chosen: ImageDataset = dataset[SPLITS.index(split)]
        return chosen
    raise TypeError(
        f"dataset is a {type(dataset).__name__}, but a name ({', '.join(_LOADERS)}), a path, an "
        "ImageDataset(images, labels) or three of them (train, validation, test) is expected. "
        "ImageDataset.from_dataset(dataset) reads one of PyTorch or Hugging Face."
    )


# --- what a user's arrays must be ------------------------------------------------------------


def _check_images(images: Any) -> None:
    if not isinstance(images, np.ndarray) and not is_lazy(images):
        raise TypeError(
            f"images is a {type(images).__name__}, but a numpy array of uint8, (N, H, W) or "
            "(N, H, W, C), is expected; np.asarray(images) makes one. If they are of different "
            "sizes, ImageDataset.from_dataset(list(zip(images, labels))) pads them."
        )
    if np.issubdtype(images.dtype, np.floating):
        if isinstance(images, np.ndarray) and images.ndim > 1 and np.isnan(images).any():
            index = np.argwhere(np.isnan(images))[0, 0]
            raise ValueError(
                f"image {index} contains NaN, but uint8 (0 … 255) is expected; repair or leave out "
                "such images."
            )
        raise TypeError(
            f"images are {images.dtype}, but uint8 (0 … 255) is expected; for values in [0, 1] "
            "pass (images * 255).round().astype(np.uint8), for values in [0, 255] "
            "images.round().astype(np.uint8)."
        )
    if images.dtype == np.object_:
        raise TypeError(
            "images are Python objects, but uint8 (0 … 255) is expected; if they are images of "
            "different sizes, ImageDataset.from_dataset(list(zip(images, labels))) pads them."
        )
    if images.dtype != np.uint8:
        raise TypeError(
            f"images are {images.dtype}, but uint8 (0 … 255) is expected; if the values are in "
            "that range pass images.astype(np.uint8)."
        )
    if len(images.shape) not in (3, 4):
        raise ValueError(
            f"images have shape {images.shape}, but (N, H, W) or (N, H, W, C) is expected; "
            "a single image is images[None], flat images are images.reshape(N, H, W)."
        )
    if 0 in images.shape:
        raise ValueError(
            f"images have shape {images.shape}, which holds no pixel; at least one image of at "
            "least 1 × 1 pixels is expected."
        )
    if len(images.shape) == 4 and images.shape[1] in (1, 3) and images.shape[3] > 4:
        raise ValueError(
            f"images have shape {images.shape}, which looks like (N, C, H, W), but (N, H, W, C) "
            "is expected; pass np.moveaxis(images, 1, -1)."
        )


def _check_labels(labels: Any, num_images: int) -> None:
    if not isinstance(labels, np.ndarray):
        raise TypeError(
            f"labels is a {type(labels).__name__}, but a numpy array of integers, (N,), is "
            "expected; np.asarray(labels) makes one."
        )
    if not np.issubdtype(labels.dtype, np.integer):
        for index, label in enumerate(labels.flat):
            if label is None or (isinstance(label, (float, np.floating)) and np.isnan(label)):
                raise ValueError(
                    f"label {index} is {label}, but a class, 0 … n−1, is expected; leave out "
                    "images without a label."
                )
        raise TypeError(
            f"labels are {labels.dtype}, but integers 0 … n−1 are expected; "
            "np.unique(labels, return_inverse=True)[1] numbers the classes that occur."
        )
    if labels.ndim != 1:
        raise ValueError(
            f"labels have shape {labels.shape}, but (N,), one class for each image, is expected; "
            "one-hot labels become classes by labels.argmax(axis=1)."
        )
    if len(labels) != num_images:
        raise ValueError(
            f"there are {num_images} images but {len(labels)} labels; one label for each image "
            "is expected."
        )
    classes = np.unique(labels)
    if classes[0] < 0:
        raise ValueError(
            f"label {np.argmax(labels < 0)} is {labels[labels < 0][0]}, but classes are numbered "
            "from 0; leave out images without a label, or number the classes that occur with "
            "np.unique(labels, return_inverse=True)[1]."
        )
    if int(classes[-1]) != len(classes) - 1:
        missing = int(np.argmax(classes != np.arange(len(classes), dtype=classes.dtype)))
        raise ValueError(
            f"labels go up to {classes[-1]} (label {np.argmax(labels)}), but no image has class "
            f"{missing}; every class in 0 … n−1 is expected to occur. Add images of it, or number "
            "the classes that occur with np.unique(labels, return_inverse=True)[1]."
        )


def _check_three_splits(datasets: Sequence[Any]) -> None:
    for entry in datasets:
        if not isinstance(entry, ImageDataset):
            raise TypeError(
                f"dataset is a {type(datasets).__name__} that holds a {type(entry).__name__}, but "
                "three ImageDatasets (train, validation, test) are expected; two arrays become "
                "one with ImageDataset(images, labels), pairs (image, label) with "
                "ImageDataset.from_dataset(pairs)."
            )
    if len(datasets) != 3:
        raise ValueError(
            f"dataset has {len(datasets)} entries, but three are expected, for train, validation "
            "and test; a single ImageDataset, passed by itself, serves every split."
        )
    shapes = [entry.images.shape[1:] for entry in datasets]
    if len(set(shapes)) > 1:
        raise ValueError(
            f"the images of train, validation and test have shapes {shapes[0]}, {shapes[1]} and "
            f"{shapes[2]}, but one shape is expected; resize or pad them."
        )
    counts = [entry.num_classes for entry in datasets]
    if len(set(counts)) > 1:
        raise ValueError(
            f"train, validation and test have {counts[0]}, {counts[1]} and {counts[2]} classes, "
            "but the same classes are expected in each; add images of those that are missing."
        )


def _choices(given: object, existing: Sequence[str]) -> str:
    """The end of an error's sentence: what exists, and which of it was probably meant."""
    text = f"choose from {', '.join(repr(name) for name in existing)}."
    close = difflib.get_close_matches(str(given).lower(), existing, n=1)
    return f"did you mean {close[0]!r}? Or {text}" if close else text


def _read_only(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """A view that cannot be written through; the array itself stays as its owner left it."""
    view = array.view(np.ndarray)
    view.flags.writeable = False
    return view


# --- one load for each process ---------------------------------------------------------------

_Splits = dict[Split, ImageDataset]
_lock = threading.RLock()
_loaded: dict[tuple[str, str | None], _Splits] = {}
_failed_downloads: list[str] = []  # the message of the one that failed, if one did


def _load_known(name: str) -> _Splits:
    data_dir = os.environ.get(DATA_DIR_VARIABLE) or None
    with _lock:
        if (name, data_dir) not in _loaded:
            _loaded[name, data_dir] = _LOADERS[name](data_dir)
        return _loaded[name, data_dir]


@functools.lru_cache(maxsize=8)
def _load_path(path: str, given: str) -> _Splits:
    from ram_envs.datasets.pictures import read_images

    return read_images(given)


def _cache_clear() -> None:
    """Forget what was loaded and what failed, as if the process were new; for tests."""
    _loaded.clear()
    _failed_downloads.clear()
    _load_path.cache_clear()


def _load_auto(data_dir: str | None) -> _Splits:
    try:
        return _load_known("mnist")
    except DatasetUnavailableError as error:
        warnings.warn(
            "MNIST could not be had, so dataset='auto' serves the 1,797 small digits of the "
            f"package instead; results on the two do not compare. {error}",
            DatasetFallbackWarning,
            stacklevel=4,  # the caller of load_dataset
        )
        return _load_known("digits")


def _known_dataset(
    name: str, split: Split, images: npt.NDArray[np.uint8], labels: npt.NDArray[Any]
) -> ImageDataset:
    dataset = ImageDataset(images, labels, name)
    object.__setattr__(dataset, "_known_split", split)
    return dataset


# --- the digits of the package ---------------------------------------------------------------


def _load_digits(data_dir: str | None) -> _Splits:
    """The UCI digits in the order of their file, not shuffled: train first, test last."""
    source = importlib.resources.files("ram_envs") / "data" / "digits.npz"
    with source.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        images = _enlarge_digits(arrays["images"])
        labels = arrays["labels"].astype(np.int64)
    splits: _Splits = {}
    start = 0
    for split, size in zip(SPLITS, DIGITS_SIZES, strict=True):
        rows = slice(start, start + size)
        splits[split] = _known_dataset("digits", split, images[rows], labels[rows])
        start += size
    return splits


def _enlarge_digits(scans: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Scans (N, 8, 8) of 0 … 16 to images (N, 28, 28) of 0 … 255, as large and placed as MNIST's.

    Bilinear, 8 pixels to 20, with 4 more on each side, where the edge fades to black. Pixel i of
    the 20 lies at (i + ½) · 8/20 − ½ = (4i − 3)/10 in the scan, so integer weights in tenths are
    exact and the result is the same on every machine.
    """
    weights = np.zeros((28, 8), np.int32)
    for pixel in range(28):
        left, tenths = divmod(4 * (pixel - 4) - 3, 10)
        for column, weight in ((left, 10 - tenths), (left + 1, tenths)):
            if 0 <= column < 8:  # beyond the scan all is black
                weights[pixel, column] = weight
    sums = weights @ scans.astype(np.int32) @ weights.T  # (N, 28, 28), 0 … 16 · 100
    return ((sums * 255 + 800) // 1600).astype(np.uint8)


# --- MNIST -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _IdxFile:
    name: str
    num_bytes: int  # of the uncompressed file, as is the hash
    sha256: str


MNIST_FILES = (
    _IdxFile(
        "train-images-idx3-ubyte",
        47_040_016,
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    ),
    _IdxFile(
        "train-labels-idx1-ubyte",
        60_008,
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    ),
    _IdxFile(
        "t10k-images-idx3-ubyte",
        7_840_016,
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    ),
    _IdxFile(
        "t10k-labels-idx1-ubyte",
        10_008,
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
)


def _load_mnist(data_dir: str | None) -> _Splits:
    if data_dir is not None:
        arrays = _read_data_dir(Path(data_dir).expanduser() / "mnist")
    else:
        arrays = _read_cache_or_download()
    train_images, train_labels, test_images, test_labels = arrays
    train_labels = train_labels.astype(np.int64)  # once, for the two splits that share them
    n = len(train_images) - NUM_VALIDATION
    return {
        "train": _known_dataset("mnist", "train", train_images[:n], train_labels[:n]),
        "validation": _known_dataset("mnist", "validation", train_images[n:], train_labels[n:]),
        "test": _known_dataset("mnist", "test", test_images, test_labels),
    }


def _read_data_dir(folder: Path) -> list[npt.NDArray[np.uint8]]:
    paths = [find_idx(file.name, folder) for file in MNIST_FILES]
    missing = [file.name for file, path in zip(MNIST_FILES, paths, strict=True) if path is None]
    if missing:
        raise FileNotFoundError(
            f"{DATA_DIR_VARIABLE} is set, but {folder} lacks {', '.join(missing)} (with or without "
            f".gz). Put the original files of MNIST there, or unset {DATA_DIR_VARIABLE} to use "
            "the user's cache and the download."
        )
    remedy = f"Replace it with the original file, or unset {DATA_DIR_VARIABLE}."
    return [
        _read_file(path, file, remedy)
        for file, path in zip(MNIST_FILES, paths, strict=True)
        if path is not None
    ]


def _read_cache_or_download() -> list[npt.NDArray[np.uint8]]:
    if _failed_downloads:
        raise DatasetUnavailableError(
            f"{_failed_downloads[0]} (This process tried once and does not try again.)"
        )
    import pooch  # takes a while, and only MNIST without a data folder needs it

    folder = Path(pooch.os_cache("ram-gym")) / "mnist"
    arrays = []
    for file in MNIST_FILES:
        path = find_idx(file.name, folder)
        if path is not None:
            arrays.append(_read_file(path, file, "Delete it, and it is downloaded again."))
            continue
        try:
            arrays.append(_download(file, folder))
        except DatasetUnavailableError as error:
            _failed_downloads.append(str(error))
            raise
    return arrays


def _read_file(path: Path, file: _IdxFile, remedy: str) -> npt.NDArray[np.uint8]:
    with path.open("rb") as stream:
        raw = stream.read(_most_bytes(file) + 1)
    try:
        return _decode(raw, file)
    except CorruptDatasetError as problem:
        message = f"{path} is not MNIST's {file.name}: {problem}. {remedy}"
        raise CorruptDatasetError(message) from None


def _download(file: _IdxFile, folder: Path) -> npt.NDArray[np.uint8]:
    """Fetch, check and keep one file; nothing reaches the folder before it is checked."""
    advice = (
        f"Set {DATA_DIR_VARIABLE} to a folder that holds the four files of MNIST in mnist/, or "
        "use dataset='digits', which needs no download."
    )
    failures = []
    for mirror in MIRRORS:
        url = f"{mirror}{file.name}.gz"
        try:
            raw = _fetch_patiently(url, _most_bytes(file))
            array = _decode(raw, file)
            break
        except (OSError, ValueError) as error:  # requests' errors are among them
            failures.append(f"\n  {url}: {_describe_root(error)}")
    else:
        tried = "".join(failures)
        raise DatasetUnavailableError(f"MNIST could not be downloaded:{tried}\n{advice}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_bytes(folder / f"{file.name}.gz", raw)
    except OSError as error:
        raise DatasetUnavailableError(
            f"MNIST was downloaded but cannot be kept in {folder}: {error} {advice}"
        ) from error
    return array


def _fetch_patiently(url: str, most_bytes: int) -> bytes:
    """Fetch again what broke off or a busy server refused, but not what cannot be reached."""
    from requests.exceptions import ChunkedEncodingError, HTTPError

    for attempt in range(1, ATTEMPTS + 1):
        try:
            return _within(FILE_SECONDS, functools.partial(_fetch, url, most_bytes))
        except (ChunkedEncodingError, HTTPError) as error:
            is_final = error.response is not None and error.response.status_code < 500
            if is_final or attempt == ATTEMPTS:
                raise
            time.sleep(PAUSE_SECONDS * attempt)
    raise AssertionError


def _within(seconds: float, work: Callable[[], bytes]) -> bytes:
    """What `work` returns; a server that sends a byte now and then is not waited for."""
    results: queue.Queue[bytes | BaseException] = queue.Queue()

    def run() -> None:
        try:
            results.put(work())
        except BaseException as error:
            results.put(error)

    threading.Thread(target=run, daemon=True).start()
    try:
        result = results.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"it was not there after {seconds:g} s") from None
    if isinstance(result, BaseException):
        raise result
    return result


def _refuse_insecure(response: Any) -> None:
    """A redirection must not leave HTTPS."""
    if not response.is_redirect:
        return
    target = urljoin(response.url, response.headers["location"])
    if not target.startswith("https://"):
        raise OSError(f"it sends on to {target}, and https:// is expected")


def _fetch(url: str, most_bytes: int) -> bytes:
    import pooch

    bar = (
        importlib.util.find_spec("tqdm") is not None
        and sys.stderr is not None
        and sys.stderr.isatty()
    )
    with contextlib.ExitStack() as responses:

        def receive(response: Any, **keywords: Any) -> None:
            responses.callback(response.close)
            _refuse_insecure(response)

        download = pooch.HTTPDownloader(
            progressbar=bar,
            chunk_size=2**16,
            timeout=(CONNECT_SECONDS, READ_SECONDS),
            hooks={"response": receive},
        )
        body = _BoundedBytes(most_bytes)
        download(url, body, None)
        return body.getvalue()


def _describe_root(error: BaseException) -> str:
    """What really happened, such as a refused connection, below the layers that wrapped it."""
    while below := error.__cause__ or (None if error.__suppress_context__ else error.__context__):
        error = below
    return f"{type(error).__name__}: {error}"


class _BoundedBytes(io.BytesIO):
    """Bytes in memory that refuse to grow beyond what the file can be."""

    def __init__(self, most_bytes: int) -> None:
        super().__init__()
        self._most_bytes = most_bytes

    def write(self, data: Any) -> int:
        if self.tell() + len(data) > self._most_bytes:
            raise CorruptDatasetError(f"more than {self._most_bytes:,} bytes were sent")
        return super().write(data)


def _most_bytes(file: _IdxFile) -> int:
    return file.num_bytes + 1024  # gzip adds a little where it cannot compress


def _decode(raw: bytes, file: _IdxFile) -> npt.NDArray[np.uint8]:
    """The array in an IDX file, compressed or not, once its contents are known to be right."""
    if len(raw) > _most_bytes(file):
        raise CorruptDatasetError(f"it is longer than {_most_bytes(file):,} bytes")
    content = gunzip(raw, file.num_bytes) if is_gzip(raw) else raw
    if len(content) != file.num_bytes:
        count = f"more than {file.num_bytes:,}" if len(content) > file.num_bytes else len(content)
        raise CorruptDatasetError(f"it holds {count} bytes, and {file.num_bytes:,} are expected")
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != file.sha256:
        raise CorruptDatasetError(
            f"the sha256 of its contents is {sha256}, and {file.sha256} is expected"
        )
    return parse_idx(content)


_LOADERS: dict[str, Callable[[str | None], _Splits]] = {
    "mnist": _load_mnist,
    "digits": _load_digits,
    "auto": _load_auto,
}
