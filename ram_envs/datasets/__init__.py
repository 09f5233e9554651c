"""Images and their labels: MNIST, the digits inside the package, and the user's own."""

from ram_envs.datasets.loading import (
    MNIST_FILES,
    SPLITS,
    CorruptDatasetError,
    DatasetFallbackWarning,
    DatasetUnavailableError,
    ImageDataset,
    Split,
    load_dataset,
)

__all__ = [
    "MNIST_FILES",
    "SPLITS",
    "CorruptDatasetError",
    "DatasetFallbackWarning",
    "DatasetUnavailableError",
    "ImageDataset",
    "Split",
    "load_dataset",
]
