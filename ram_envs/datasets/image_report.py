"""`check_images`: what a folder or an .npz holds, and what is wrong with it, before it is used."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ram_envs.arguments import check_arguments
from ram_envs.atomic_files import write_whole
from ram_envs.datasets.own_images import (
    check_all_splits,
    find_source,
    holds_arrays,
    plan_split,
    read_source,
)
from ram_envs.datasets.picture_files import (
    check_padded,
    open_picture,
    refuse_picture,
    show_progress,
)
from ram_envs.datasets.picture_folder import Folder, arrange
from ram_envs.datasets.pixels import WHITE, Background, Notes, Pixels, check_background, to_pixels
from ram_envs.datasets.splits import SPLITS, Split

CELL, LABEL = 64, 96  # pixels of a picture on the contact sheet, and of the name beside a row
MAX_ROWS, MAX_COLUMNS = 40, 10
MAX_LISTED = 10


@dataclass
class ImageReport:
    """What was found at a path; `str(report)` is a summary.

    Attributes:
        path: the absolute path.
        number: the number of images that can be read.
        sizes: how many images have each (height, width).
        modes: how many images have each format and mode, such as "PNG RGBA".
        classes: how many images each class has.
        splits: how many images each split has; empty if they cannot be divided, or one is missing.
        left_out: the files that are left out, by reason.
        problems: the pictures that cannot be read and why, by path; ("", why) for the whole.
        notes: what `load_dataset` would warn of.
    """

    path: str
    number: int = 0
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    modes: Counter[str] = field(default_factory=Counter)
    classes: Counter[str] = field(default_factory=Counter)
    splits: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    problems: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [
            f"{self.path}: {self.number:,} images of {len(self.classes)} classes",
            f"sizes     {self._describe_sizes()}",
            f"modes     {_list(self.modes)}",
            f"classes   {_list(self.classes)}",
            f"splits    {_list(self.splits) or 'none'}",
        ]
        for reason, paths in self.left_out.items():
            lines.append(f"left out  {len(paths):,} files {reason}, such as {paths[0]}")
        lines += [f"warning   {note}" for note in self.notes if not note.startswith("files left")]
        lines += [f"problem   {why}" for why in [*self.problems.values()][:MAX_LISTED]]
        if len(self.problems) > MAX_LISTED:
            lines.append(f"problem   {len(self.problems) - MAX_LISTED:,} more")
        text = "\n".join(lines)  # with names that may not be UTF-8, which cannot be printed
        return text.encode("utf-8", "backslashreplace").decode()

    def _describe_sizes(self) -> str:
        if not self.sizes:
            return "none"
        if len(self.sizes) == 1:
            return " × ".join(map(str, next(iter(self.sizes))))
        heights, widths = zip(*self.sizes, strict=True)
        return (
            f"{len(self.sizes):,} sizes, {min(heights)} to {max(heights)} high and {min(widths)} "
            f"to {max(widths)} wide, padded to {max(heights)} × {max(widths)}"
        )


@check_arguments
def check_images(
    path: str | Path, save: str | Path | None = None, background: Background = WHITE
) -> ImageReport:
    """Read all images at a path and report what was found, without stopping at a damaged one.

    Args:
        path: a folder or an .npz, as for `load_dataset`.
        save: where to write a contact sheet, a PNG: some pictures of each class, as read.
        background: as for `load_dataset`.

    Raises:
        FileNotFoundError, ValueError: if there are no classes of images at the path.
        OSError: if the contact sheet cannot be written.
    """
    background = check_background(background)
    source = find_source(path)
    report = ImageReport(source.path if isinstance(source, Folder) else str(source))
    samples: dict[str, list[Pixels]] = defaultdict(list)
    if isinstance(source, Folder) and not holds_arrays(source):
        _check_pictures(source, background, report, samples)
    else:
        _check_arrays(source, background, report, samples)
    if save is not None:
        sheet = _draw_contact_sheet(samples)
        write_whole(Path(save), lambda file: sheet.save(file, "PNG"))
    return report


def _check_pictures(
    folder: Folder, background: Background, report: ImageReport, samples: dict[str, list[Pixels]]
) -> None:
    arrangement = arrange(folder)
    for name, reason in arrangement.left_out:
        report.left_out[reason].append(name)
    notes = Notes()
    arrangement.note(notes)
    everything = [picture for pictures in arrangement.parts.values() for picture in pictures]
    shapes: dict[str, tuple[int, ...]] = {}
    for picture in show_progress(everything):
        file, class_name = picture.file.path, arrangement.class_names[picture.label]
        try:
            with open_picture(file) as image:
                mode = f"{image.format} {image.mode}"
                pixels = to_pixels(image, background, notes, file)
        except Exception as error:  # Pillow raises many kinds for a damaged file
            report.problems[file] = str(refuse_picture(file, error))
            continue
        shapes[picture.key] = pixels.shape
        report.modes[mode] += 1
        _count(report, pixels, class_name, samples)
    report.notes = notes.lines()
    try:
        for part, pictures in arrangement.parts.items():
            kept = [picture for picture in pictures if picture.key in shapes]
            check_padded([shapes[picture.key] for picture in kept], kept, folder.path)
            labels = np.array([picture.label for picture in kept], np.int64)
            keys = tuple(picture.key for picture in kept)
            plan = plan_split(part, set(arrangement.parts), labels, keys, Path(folder.path))
            report.splits |= {split: len(rows) for split, rows in plan.items()}
        check_all_splits(report.splits, folder.path)
    except (ValueError, FileNotFoundError) as error:
        report.splits = {}
        report.problems[""] = str(error)


def _check_arrays(
    source: Path | Folder,
    background: Background,
    report: ImageReport,
    samples: dict[str, list[Pixels]],
) -> None:
    splits: tuple[Split, ...] = SPLITS
    try:
        datasets = read_source(source, None, background)
    except ValueError as error:
        try:
            datasets, splits = read_source(source, "all", background), ("train",)
        except ValueError:
            raise error from None
        report.problems[""] = str(error)  # too few to divide
    for split in splits:
        dataset = datasets[split]
        shape = dataset.images.shape
        kind = "gray" if len(shape) == 3 else f"{shape[3]} channels"
        report.number += len(dataset)
        report.sizes[shape[1], shape[2]] += len(dataset)
        report.modes[f"array of uint8, {kind}"] += len(dataset)
        if len(splits) == len(SPLITS):
            report.splits[split] = len(dataset)
        for label, number in enumerate(np.bincount(dataset.labels, minlength=dataset.num_classes)):
            name = dataset.class_names[label]
            report.classes[name] += int(number)
            for row in np.flatnonzero(dataset.labels == label)[: MAX_COLUMNS - len(samples[name])]:
                samples[name].append(np.asarray(dataset.images[int(row)]))


def _count(
    report: ImageReport, pixels: Pixels, class_name: str, samples: dict[str, list[Pixels]]
) -> None:
    report.number += 1
    report.sizes[pixels.shape[0], pixels.shape[1]] += 1
    report.classes[class_name] += 1
    if len(samples[class_name]) < MAX_COLUMNS:
        samples[class_name].append(pixels)


def _list(counts: dict[str, int]) -> str:
    shown = [f"{count:,} {name}" for name, count in list(counts.items())[:20]]
    more = len(counts) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def _draw_contact_sheet(samples: dict[str, list[Pixels]]) -> Any:
    """Return a row of pictures for each class, with its name, as a PIL image."""
    from PIL import Image, ImageDraw

    rows = list(samples.items())[:MAX_ROWS]
    size = (LABEL + CELL * MAX_COLUMNS, CELL * max(1, len(rows)))
    sheet = Image.new("RGB", size, (40, 40, 40))
    draw = ImageDraw.Draw(sheet)
    for row, (name, pictures) in enumerate(rows):
        shown = name[:14].encode("latin-1", "replace").decode("latin-1")  # for any font
        draw.text((4, row * CELL + CELL // 2 - 6), shown, fill="white")
        for column, pixels in enumerate(pictures):
            if pixels.ndim == 3 and pixels.shape[2] not in (3, 4):
                pixels = pixels[..., 0]
            picture = Image.fromarray(np.ascontiguousarray(pixels)).convert("RGB")
            picture = picture.resize(_fit(picture.size), Image.Resampling.BOX)
            sheet.paste(picture, (LABEL + column * CELL + 1, row * CELL + 1))
    return sheet


def _fit(size: Iterable[int]) -> tuple[int, int]:
    """Return width and height of a picture that fills a cell."""
    width, height = size
    scale = (CELL - 2) / max(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))
