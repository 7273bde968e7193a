"""Remedies for what the libraries below us lack on some machines.

Importing this package imports neither torch nor mmcv: commands must start fast, and must be able to
report a missing library in words.
"""

__all__ = ["ensure_mmcv_ext"]


def ensure_mmcv_ext() -> bool:
    """Make `mmcv.ops` and `mmdet.models` importable; see `dense.compat.mmcv_ext.ensure_mmcv_ext`."""
    from dense.compat import mmcv_ext

    return mmcv_ext.ensure_mmcv_ext()
