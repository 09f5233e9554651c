"""Which pictures a folder holds: their classes and splits, and what is left out and why."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import NamedTuple

from gymnasium.error import DependencyNotInstalled

from ram_envs.datasets.pixels import Notes
from ram_envs.datasets.splits import SPLIT_NAMES, Split

# The formats that are read, whatever a file's name says. Pillow passes PostScript to Ghostscript,
# and others of its formats are rarely pictures.
FORMATS = (
    *("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "DDS", "DIB", "HEIF", "ICO"),
    *("JPEG2000", "MPO", "PCX", "QOI", "SGI", "TGA"),
)
# Files that may lie beside pictures without a warning.
DATA_ENDINGS = (".csv", ".db", ".html", ".ini", ".json", ".log", ".md", ".txt", ".xml", ".yaml")
IGNORED_FOLDERS = ("@eaDir", "__MACOSX", "#recycle", "$RECYCLE.BIN", "lost+found")


class File(NamedTuple):
    """A file as the file system lists it; a broken link has neither size nor times."""

    path: str
    size: int
    times: tuple[int, int]

    @property
    def ending(self) -> str:
        return os.path.splitext(self.path)[1].lower()


@dataclass
class Folder:
    """A folder and all below it, without hidden files; links are followed."""

    path: str
    files: list[File] = field(default_factory=list)
    folders: list[Folder] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The last part of the path, as text that can be printed, even if it is not UTF-8."""
        name = os.path.basename(self.path).encode("utf-8", "surrogateescape")
        return normalize(name.decode("utf-8", "backslashreplace"))  # keeps different names apart

    @cached_property
    def state(self) -> str:
        """A hash of the relative paths of all below, and of the sizes and times of the files."""
        start = len(self.path)
        lines = [f"{path[start:]}\0{size}\0{times}" for path, size, times in self.walk()]
        lines += [path[start:] for path in self.walk_folders()]
        text = "\n".join(lines).encode("utf-8", "surrogateescape")
        return hashlib.blake2b(text, digest_size=16).hexdigest()

    def walk(self) -> Iterator[File]:
        """Yield all files, in an order that depends on their names alone."""
        yield from self.files
        for folder in self.folders:
            yield from folder.walk()

    def walk_folders(self) -> Iterator[str]:
        """Yield the paths of all folders, of empty ones, too."""
        for folder in self.folders:
            yield folder.path
            yield from folder.walk_folders()

    def pictures(self) -> list[File]:
        """Return the pictures that lie in the folder itself."""
        endings = picture_endings()
        return [file for file in self.files if file.ending in endings]


class Picture(NamedTuple):
    """A picture, the number of its class, and its path within the data set."""

    file: File
    label: int
    key: str


@dataclass
class Arrangement:
    """The pictures of a folder, by split ("all" where there are none), and what is left out."""

    class_names: tuple[str, ...]
    parts: dict[str, list[Picture]]
    left_out: list[tuple[str, str]]  # path and reason

    def note(self, notes: Notes) -> None:
        """Add what is left out to the notes, except for data files."""
        for path, reason in self.left_out:
            if os.path.splitext(path)[1].lower() not in DATA_ENDINGS:
                notes.add(f"files left out, {reason}", "Convert, move or remove them.", path)


def normalize(text: str) -> str:
    """Return a name in one Unicode form: some systems write "é" as two characters."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def scan(path: str | Path) -> Folder:
    """List a folder and all below it."""
    return _scan(os.path.abspath(path), (os.path.realpath(path),))


def _scan(path: str, above: tuple[str, ...]) -> Folder:
    result = Folder(path)
    with os.scandir(path) as entries:
        found = sorted(entries, key=lambda entry: normalize(entry.name))
    for entry in found:
        if entry.name.startswith(".") or entry.name in IGNORED_FOLDERS:
            continue
        try:
            is_folder = entry.is_dir()
        except OSError:  # a link to itself
            is_folder = False
        if is_folder:
            target = os.path.realpath(entry.path)
            if target not in above:  # not a link that leads back
                result.folders.append(_scan(entry.path, (*above, target)))
            continue
        try:
            stat = entry.stat()
            times = (stat.st_mtime_ns, stat.st_ctime_ns)
            result.files.append(File(entry.path, stat.st_size, times))
        except OSError:
            result.files.append(File(entry.path, 0, (0, 0)))
    return result


def picture_endings() -> frozenset[str]:
    """Return the endings of files that the installed Pillow reads, of the formats above.

    Raises:
        DependencyNotInstalled: if Pillow is missing.
    """
    try:
        import PIL  # noqa: F401
    except ImportError as error:
        raise DependencyNotInstalled(
            'Reading pictures needs Pillow. Run `pip install "ram-gym[play]"`.'
        ) from error
    return _readable()[1]


@cache
def _readable() -> tuple[tuple[str, ...], frozenset[str]]:
    from PIL import Image

    Image.init()
    formats = tuple(name for name in FORMATS if name in Image.OPEN)
    extensions = Image.registered_extensions().items()
    return formats, frozenset(ending for ending, name in extensions if name in formats)


def picture_formats() -> tuple[str, ...]:
    """Return those of the formats above that the installed Pillow reads."""
    return _readable()[0]


# --- classes and splits ----------------------------------------------------------------------


def arrange(folder: Folder) -> Arrangement:
    """Find the splits, classes and pictures of a folder.

    A folder named as a split is one if all folders are. Beside folders of other names, splits must
    contain class folders and no pictures, and both training and test must exist; otherwise each
    folder is a class.

    Raises:
        FileNotFoundError: if there are no class folders, or one has no pictures.
        ValueError: if a class is missing in the training split, or a split is there twice.
    """
    left_out = _strays(folder)
    splits = _find_split_folders(folder)
    parts: dict[str, Folder] = dict(splits.items()) or {"all": folder}
    first = parts.get("train") or next(iter(parts.values()))
    class_names = tuple(_classes(first))
    pictures: dict[str, list[Picture]] = {}
    for part, top in parts.items():
        classes = _classes(top)
        if more := sorted(set(classes) - set(class_names)):
            raise ValueError(
                f"{classes[more[0]][0].path}: there is no such class in {first.path}. Add images "
                "of it there, or remove the folder."
            )
        if top is not folder:
            left_out += _strays(top)
        pictures[part] = []
        for label, name in enumerate(class_names):
            found = _pictures_of(classes.get(name, []), label, len(folder.path) + 1, left_out)
            if not found:
                raise FileNotFoundError(
                    f"{os.path.join(top.path, name)} has no pictures that Pillow reads here. Add "
                    "some, or remove the folder if there is no such class."
                )
            pictures[part] += found
    if splits:
        others = [other for other in folder.folders if other not in splits.values()]
        left_out += [(file.path, "beside the splits") for other in others for file in other.walk()]
    return Arrangement(class_names, pictures, left_out)


def find_splits(folder: Folder) -> dict[Split, Folder]:
    """Return the folders that are named as splits.

    Raises:
        ValueError: if two are for one split.
    """
    found: dict[Split, Folder] = {}
    for split, names in SPLIT_NAMES.items():
        for entry in folder.folders:
            if entry.name.lower() in names:
                if split in found:
                    raise ValueError(
                        f"{folder.path} has two folders for {split}, {found[split].name} and "
                        f"{entry.name}. Rename or remove one."
                    )
                found[split] = entry
    return found


def _find_split_folders(folder: Folder) -> dict[Split, Folder]:
    found = find_splits(folder)
    if len(found) == len(folder.folders):
        return found
    are_splits = all(entry.folders and not entry.pictures() for entry in found.values())
    return found if {"train", "test"} <= set(found) and are_splits else {}


def _classes(folder: Folder) -> dict[str, list[Folder]]:
    """Return the class folders by name, sorted; two ways to write a name are one class."""
    classes: dict[str, list[Folder]] = {}
    for entry in folder.folders:
        classes.setdefault(entry.name, []).append(entry)
    if not classes:
        raise FileNotFoundError(
            f"{folder.path} has no folders. Make one for each class, with its pictures in it."
        )
    if len(classes) == 1 and not any(entry.pictures() for entry in folder.folders):
        only = folder.folders[0]
        if only.folders:
            raise FileNotFoundError(
                f"{folder.path} has one folder, {only.name}, which holds folders. Give "
                f"{only.path} if these are the classes."
            )
    return dict(sorted(classes.items()))


def _pictures_of(
    folders: list[Folder], label: int, start: int, left_out: list[tuple[str, str]]
) -> list[Picture]:
    endings = picture_endings()
    found = []
    for file in (file for folder in folders for file in folder.walk()):
        if file.ending in endings:
            key = normalize(file.path[start:].replace(os.sep, "/"))
            found.append(Picture(file, label, key))
        else:
            left_out.append((file.path, _why_no_picture(file)))
    return sorted(found, key=lambda picture: picture.key.split("/"))


def _strays(folder: Folder) -> list[tuple[str, str]]:
    """Return the files that lie beside the class folders, and why they are left out."""
    endings = picture_endings()
    return [
        (file.path, "in no class folder" if file.ending in endings else _why_no_picture(file))
        for file in folder.files
    ]


def _why_no_picture(file: File) -> str:
    return f"which end in {file.ending}" if file.ending else "whose names have no extension"
