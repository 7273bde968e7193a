"""Weights: by name (shipped, in the cache, trained here), fetched and imported with checks; read and written safely."""
from dense.weights.catalogue import read_catalogue
from dense.weights.get import get_weights
from dense.weights.importer import import_weights
from dense.weights.store import find_weights, list_weights
from dense.weights.verify import verify_weights

__all__ = ["find_weights", "get_weights", "import_weights", "list_weights", "read_catalogue", "verify_weights"]
