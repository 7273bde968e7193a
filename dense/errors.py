"""Errors that a user can act on.

Every message says what is wrong, where (the file), and the remedy. The commands print them without a
traceback; anything else that escapes is a fault of ours.
"""


class DenseError(Exception):
    """A problem in the user's files, settings or machine."""


class ImageError(DenseError):
    """A picture or mask that cannot be read or does not have the expected form."""


class DatasetError(DenseError):
    """A data set that is missing, incomplete or mislabelled."""


class WeightsError(DenseError):
    """A weights file or checkpoint that is damaged, unsafe or does not fit the network."""


class ConfigError(DenseError):
    """A configuration that names something unknown or contradicts itself."""


class MissingDependencyError(DenseError):
    """A library of an extra that is not installed."""


class BundleError(DenseError):
    """A bundle that is damaged, incomplete, changed, or made for another reader."""


class InputError(DenseError, ValueError):
    """An array that a network or bundle does not take: its name, dtype, shape, or sizes beyond the limits."""


class ExportError(DenseError):
    """A network that could not be exported with these settings."""
