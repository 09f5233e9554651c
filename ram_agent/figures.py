"""Figures of a trained agent: its fixations, its glimpses, and the labels' probabilities."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from ram_agent.agent import RAMAgent
from ram_agent.rollout import play_as_validated
from ram_envs.aliases import VectorEnv
from ram_envs.atomic_files import write_whole
from ram_envs.datasets.source import read_rows
from ram_envs.rendering import SCALE_COLORS
from ram_envs.retina import pixel_edges
from ram_envs.views import patch_boxes, spread_window

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NUM_CANVASES = 12  # in a figure of paths
NUM_EPISODES = 4  # drawn glimpse by glimpse
MAX_BARS, MANY_SHOWN = 10, 4  # labels in a figure of probabilities
DPI = 100


@dataclass(frozen=True)
class GazeRecord:
    """The gaze of N episodes, one for each of the first N images of a split.

    canvases    (N, H, W[, C]) uint8
    corners     (N, D, 2), the pixel (x, y) of the canvas at the top-left corner of each of its D
                images: one, or two in the environments of pairs
    image_size  (h, w) of the images
    edges       (T, N, 2), the pixel edges (x, y) at which the glimpses were taken
    views       (T, M, w, w[, C]) in [0, 1], the glimpses of the first M episodes as pictures
    probs       (T, N, n), probabilities of the labels after each glimpse
    labels      (N,), the true labels
    names       the n classes' names
    widths      the K widths of the retina's patches, in pixels of the canvas
    """

    canvases: npt.NDArray[np.uint8]
    corners: npt.NDArray[np.int64]
    image_size: tuple[int, int]
    edges: npt.NDArray[np.int64]
    views: npt.NDArray[np.float32]
    probs: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    names: tuple[str, ...]
    widths: tuple[int, ...] = ()

    @property
    def is_wrong(self) -> npt.NDArray[np.bool_]:
        """(N,), whether the label after the last glimpse is wrong."""
        wrong: npt.NDArray[np.bool_] = self.probs[-1].argmax(-1) != self.labels
        return wrong


@torch.no_grad()
def record_gaze(agent: RAMAgent, envs: VectorEnv, num_images: int) -> GazeRecord:
    """Let an agent look at the first images of a split, and keep all of it.

    It looks as in its validations, and sees what `evaluate` shows it with seed 0.

    Args:
        agent: whom to record.
        envs: a vector environment of images, with autoreset DISABLED.
        num_images: how many.

    Raises:
        ValueError: if there are fewer images.
    """
    batch = envs.unwrapped.batch  # type: ignore[attr-defined]
    dataset, retina = batch.task.dataset, batch.retina
    if not 1 <= num_images <= len(dataset):
        raise ValueError(
            f"num_images={num_images}: this split has {len(dataset)} images. Ask for 1 to "
            f"{len(dataset)}."
        )
    canvases, corners, edges, probs, labels = [], [], [], [], []
    views: npt.NDArray[np.float32] | None = None
    for start in range(0, num_images, envs.num_envs):
        index = np.arange(start, start + envs.num_envs) % len(dataset)
        rollout = play_as_validated(agent, envs, start, options={"index": index})
        counted = slice(0, num_images - start)
        canvas = batch.canvases[counted]
        rows = batch.task.image_rows(batch.state)[counted]
        images = [read_rows(dataset.images, of_canvas) for of_canvas in rows.T]
        locations = np.stack([seen["location"][counted] for seen in rollout.observations])
        canvases.append(canvas)
        corners.append(np.stack([find_images(canvas, image) for image in images], axis=1))
        edges.append(pixel_edges(locations, *canvas.shape[1:3]))
        probs.append(rollout.choice_logits.softmax(-1)[:, counted].cpu().numpy())
        assert rollout.labels is not None
        labels.append(rollout.labels[counted].cpu().numpy())
        if views is None:
            first = slice(0, min(NUM_EPISODES, num_images))
            views = np.stack(
                [
                    compose_views(seen["glimpse"][first], retina.num_scales)
                    for seen in rollout.observations
                ]
            )
    assert views is not None
    return GazeRecord(
        canvases=np.concatenate(canvases),
        corners=np.concatenate(corners),
        image_size=dataset.images.shape[1:3],
        edges=np.concatenate(edges, axis=1),
        views=views,
        probs=np.concatenate(probs, axis=1),
        labels=np.concatenate(labels),
        names=tuple(batch.task.choice_names),
        widths=tuple(retina.patch_widths),
    )


def find_images(
    canvases: npt.NDArray[np.uint8], images: npt.NDArray[np.uint8]
) -> npt.NDArray[np.int64]:
    """Return the corners (N, 2), as (x, y), of images (N, h, w[, C]) on canvases (N, H, W[, C]).

    Environments do not report them. Clutter over an image only brightens it: its corner is where no
    pixel is darker, and among several such places where the pixels are brightened least. An image
    that is not found, as in a custom task that transforms images, has the corner (0, 0).
    """
    return np.array([_find_image(*pair) for pair in zip(canvases, images, strict=True)])


def _find_image(canvas: npt.NDArray[np.uint8], image: npt.NDArray[np.uint8]) -> tuple[int, int]:
    canvas, image = (array.reshape(*array.shape[:2], -1) for array in (canvas, image))
    height, width, _ = image.shape
    num_rows, num_columns = canvas.shape[0] - height + 1, canvas.shape[1] - width + 1
    # Pixel by pixel, the brightest first, which leave the fewest places.
    pixels = np.transpose(np.unravel_index(np.argsort(image, axis=None)[::-1], image.shape))
    row, column, channel = pixels[0]
    plane = canvas[row : row + num_rows, column : column + num_columns, channel]
    y, x = np.nonzero(plane >= image[row, column, channel])
    for row, column, channel in pixels[1:].tolist():
        value = image[row, column, channel]
        if len(x) == 1 or value == 0:
            break
        remain = canvas[y + row, x + column, channel] >= value
        y, x = y[remain], x[remain]
    if len(x) < 2:
        return (x[0], y[0]) if len(x) else (0, 0)
    sums = np.pad(canvas.sum(-1, dtype=np.int64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    bottom, right = y + height, x + width
    best = (sums[bottom, right] - sums[bottom, x] - sums[y, right] + sums[y, x]).argmin()
    return x[best], y[best]


def compose_views(glimpses: npt.NDArray[np.float32], num_scales: int) -> npt.NDArray[np.float32]:
    """Return glimpses (B, K·C, G, G) as pictures (B, w, w[, C]), as wide as the widest patch."""
    views = np.stack([spread_window(glimpse, num_scales) for glimpse in glimpses])
    return views[..., 0] if views.shape[-1] == 1 else views


def save_figures(
    record: GazeRecord,
    errors: Mapping[str, tuple[float, ...]],
    folder: Path,
    dpi: int = DPI,
    file_format: str = "png",
) -> list[Path]:
    """Write all figures into a folder; return their paths.

    Args:
        record: what `record_gaze` returned.
        errors: percent wrong after each glimpse, by the name of the gaze.
        folder: made if need be.
        dpi, file_format: see `write_figures`.
    """
    first = np.arange(len(record.labels))[:NUM_CANVASES]
    drawings: dict[str, Callable[[], Figure]] = {
        "paths": partial(draw_paths, record, first, "Where the agent looked, and its last label"),
        "glimpses": partial(draw_glimpses, record),
        "heat_maps": partial(draw_heat_maps, record),
        "errors": partial(draw_errors, errors),
    }
    wrong = np.flatnonzero(record.is_wrong)
    if len(wrong):
        most_sure = wrong[np.argsort(-record.probs[-1, wrong].max(-1), kind="stable")]
        drawings["failures"] = partial(
            draw_paths, record, most_sure[:NUM_CANVASES], "The most confident errors"
        )
    return write_figures(drawings, folder, dpi, file_format)


def write_figures(
    drawings: Mapping[str, Callable[[], Figure]],
    folder: Path,
    dpi: int = DPI,
    file_format: str = "png",
) -> list[Path]:
    """Draw figures one after another, and write each into a folder; return their paths.

    Args:
        drawings: name of a file, without extension, and what draws it.
        folder: made if need be.
        dpi: pixels per inch.
        file_format: "png", "svg" or "pdf".
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    paths = []
    for name, draw in drawings.items():
        figure, path = draw(), folder / f"{name}.{file_format}"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, partial(figure.savefig, format=file_format, dpi=dpi))
        plt.close(figure)
        paths.append(path)
    return paths


def draw_paths(record: GazeRecord, rows: npt.NDArray[np.integer], title: str) -> Figure:
    """Draw canvases with numbered fixations and the last label, in red where it is wrong."""
    figure, axes = _make_grid(title, len(rows), 2.9)
    for axis, row in zip(axes, rows, strict=False):
        _draw_path(axis, record, int(row))
        probs, wrong = record.probs[-1, row], record.is_wrong[row]
        text = f"{record.names[probs.argmax()]} ({100 * probs.max():.0f}%)"
        if wrong:
            text += f", truth {record.names[record.labels[row]]}"
        axis.set_title(text, fontsize=10, color="C3" if wrong else "black")
    return figure


def _make_grid(title: str, count: int, height: float) -> tuple[Figure, list[Axes]]:
    """Return a figure and its axes, without frames: at least `count`, up to four in a row."""
    import matplotlib.pyplot as plt

    columns = min(4, count)
    rows = math.ceil(count / columns)
    size = (2.6 * columns, height * rows)
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    figure.suptitle(title)
    for axis in axes.flat:
        axis.axis("off")
    return figure, list(axes.flat)


def _draw_path(axis: Axes, record: GazeRecord, row: int) -> None:
    """Draw a canvas and its numbered fixations, from dark to bright."""
    import matplotlib

    canvas = record.canvases[row]
    axis.imshow(canvas, cmap="gray", vmin=0, vmax=255, extent=_extent(canvas))
    x, y = record.edges[:, row].T
    colors = matplotlib.colormaps["plasma"](np.linspace(0.25, 0.95, len(x)))
    for step in range(1, len(x)):
        axis.plot(x[step - 1 : step + 1], y[step - 1 : step + 1], color=colors[step], linewidth=1.5)
    for number, place in enumerate(zip(x, y, strict=True), 1):
        axis.annotate(
            str(number),
            place,
            ha="center",
            va="center",
            fontsize=7,
            color="white" if number <= len(x) / 2 else "black",
            bbox={
                "boxstyle": "circle,pad=0.15",
                "facecolor": colors[number - 1],
                "edgecolor": "black",
            },
        )


def _draw_squares(axis: Axes, record: GazeRecord, row: int) -> None:
    """Draw the squares of the retina at the last fixation, labeled for a legend."""
    import matplotlib.pyplot as plt

    boxes = patch_boxes(record.edges[-1, row], record.widths)
    for scale, (width, box) in enumerate(zip(record.widths, boxes, strict=True)):
        color = np.divide(SCALE_COLORS[scale % len(SCALE_COLORS)], 255)
        square = plt.Rectangle(  # type: ignore[attr-defined]
            box[:2], width, width, fill=False, edgecolor=color, label=f"{width} × {width} px"
        )
        axis.add_patch(square)


def _extent(canvas: npt.NDArray[Any]) -> tuple[float, float, float, float]:
    """Return the extent with which a pixel edge has integer coordinates."""
    height, width = canvas.shape[:2]
    return (0, width, height, 0)


def draw_glimpses(record: GazeRecord) -> Figure:
    """Draw each glimpse of a few episodes above the labels' probabilities after it."""
    import matplotlib.pyplot as plt

    num_glimpses, num_shown = record.views.shape[:2]
    figure, axes = plt.subplots(
        2 * num_shown,
        num_glimpses + 1,
        figsize=(1.5 * (num_glimpses + 1), 2.5 * num_shown),
        height_ratios=[3, 1] * num_shown,
        squeeze=False,
        layout="constrained",
    )
    figure.suptitle("What each glimpse shows, and the probability of each label after it")
    for row in range(num_shown):
        above, beneath = axes[2 * row], axes[2 * row + 1]
        _draw_path(above[0], record, row)
        _draw_squares(above[0], record, row)
        above[0].set_title(record.names[record.labels[row]], fontsize=9)
        beneath[0].axis("off")
        for step in range(num_glimpses):
            above[step + 1].imshow(record.views[step, row], cmap="gray", vmin=0, vmax=1)
            above[step + 1].set_title(f"glimpse {step + 1}", fontsize=9)
            _draw_probs(
                beneath[step + 1], record.probs[step, row], record.labels[row], record.names
            )
        for axis in above:
            axis.axis("off")
    squares = axes[0, 0].get_legend_handles_labels()
    figure.legend(*squares, loc="outside lower center", ncols=len(squares[0]) or 1, frameon=False)
    return figure


def _draw_probs(
    axis: Axes, probs: npt.NDArray[np.float32], label: int, names: tuple[str, ...]
) -> None:
    """Draw the labels' probabilities, the true one green; of many labels the most probable."""
    shown = np.arange(len(probs))
    if len(probs) > MAX_BARS:
        shown = np.argsort(-probs, kind="stable")[:MANY_SHOWN]
    colors = np.where(shown == label, "C2", "C7")
    axis.tick_params(labelsize=6, length=0)
    if len(shown) == len(probs):
        axis.bar(shown, probs, color=colors)
        axis.set(ylim=(0, 1), yticks=[])
        axis.set_xticks(shown, _short(names))
        return
    axis.barh(np.arange(len(shown)), probs[shown], color=colors)
    axis.set(xlim=(0, 1), xticks=[])
    axis.set_yticks(np.arange(len(shown)), [names[label] for label in shown])
    axis.invert_yaxis()


def _short(names: tuple[str, ...]) -> list[str]:
    """Return names that fit beneath bars; the titles above show them in full."""
    return [name if len(name) <= 4 else f"{name[:3]}…" for name in names]


def draw_heat_maps(record: GazeRecord) -> Figure:
    """Draw where the first, second, … fixation lies, relative to the nearest image's center."""
    import matplotlib.pyplot as plt

    height, width = record.image_size
    centers = record.corners + np.array([width / 2, height / 2])
    to_each = record.edges[:, :, None] - centers  # (T, N, D, 2)
    nearest = (to_each**2).sum(-1).argmin(-1)
    offsets = np.take_along_axis(to_each, nearest[..., None, None], axis=2)[:, :, 0]
    reach = max(record.canvases.shape[1:3]) / 2
    which = "the image's" if centers.shape[1] == 1 else "the nearest image's"
    title = f"Where each fixation lies, relative to {which} center (outlined)"
    figure, axes = _make_grid(title, len(offsets), 2.8)
    for step, (axis, (x, y)) in enumerate(zip(axes, offsets.transpose(0, 2, 1), strict=False), 1):
        bins = np.arange(-reach, reach + 1)
        counts, _, _ = np.histogram2d(y, x, bins=(bins, bins))
        axis.imshow(counts, cmap="inferno", extent=(-reach, reach, reach, -reach))
        frame = plt.Rectangle(  # type: ignore[attr-defined]
            (-width / 2, -height / 2), width, height, fill=False, color="white", linestyle=":"
        )
        axis.add_patch(frame)
        axis.set_title(f"fixation {step}", fontsize=10)
    return figure


def draw_errors(errors: Mapping[str, tuple[float, ...]]) -> Figure:
    """Draw the error after each glimpse, for each gaze."""
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(6, 4), layout="constrained")
    for name, values in errors.items():
        steps = range(1, len(values) + 1)
        axis.plot(steps, values, "o-", label=f"{name}: {values[-1]:.2f}% at the end")
    axis.set(xlabel="glimpses", ylabel="error (%)", xticks=list(steps))
    axis.set_title("Error after each glimpse")
    all_errors = [error for values in errors.values() for error in values if error > 0]
    lowest, highest = 0.8 * min(all_errors, default=1), 1.2 * max(all_errors, default=1)
    ticks = [tick for tick in (0.5, 1, 2, 5, 10, 20, 50, 100) if lowest < tick < highest]
    if len(ticks) > 1:  # otherwise the errors are alike, and a linear axis shows more
        axis.set(yscale="log", ylim=(lowest, highest))
        axis.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        axis.minorticks_off()
    axis.grid(alpha=0.3)
    axis.legend(frameon=False)
    return figure
