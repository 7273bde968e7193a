"""What runs networks: sessions with one interface, and the reader of bundles.

Nothing here imports torch, mmengine or a runtime before it is used.
"""
from dense.backends.bundle import Bundle, is_bundle, read_bundle
from dense.backends.session import BACKENDS, Session, open_session

__all__ = ["BACKENDS", "Bundle", "Session", "is_bundle", "open_session", "read_bundle"]
