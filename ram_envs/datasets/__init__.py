"""Images and their labels: MNIST, CIFAR-10, the digits in the package, and the user's own."""

from ram_envs.datasets.errors import CorruptDatasetError, DatasetUnavailableError
from ram_envs.datasets.image_dataset import ImageDataset
from ram_envs.datasets.image_report import ImageReport, check_images
from ram_envs.datasets.loading import DatasetFallbackWarning, load_dataset
from ram_envs.datasets.splits import SPLITS, Split

__all__ = [
    "SPLITS",
    "CorruptDatasetError",
    "DatasetFallbackWarning",
    "DatasetUnavailableError",
    "ImageDataset",
    "ImageReport",
    "Split",
    "check_images",
    "load_dataset",
]
