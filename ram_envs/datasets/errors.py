"""Errors of the known data sets: one is not available, or one of its files is damaged."""


class DatasetUnavailableError(OSError):
    """A data set is not on this machine and could not be downloaded."""


class CorruptDatasetError(ValueError):
    """A file of a known data set or format does not hold what it should; it is never used."""
