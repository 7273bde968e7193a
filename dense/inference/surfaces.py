"""Surfaces of classes as triangles in millimetres, in PLY and STL files."""
from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dense.errors import ConfigError, MissingDependencyError
from dense.io import write_bytes

FORMATS = ("ply", "stl")
_SHRINK, _GROW = 0.5, -0.53  # Taubin's pair: smooths the steps of voxels and keeps the volume


@dataclass(frozen=True, eq=False)
class Surface:
    """vertices: float32 (V, 3), x, y, z in mm. faces: int32 (F, 3), counter-clockwise seen from outside. frame: 'RAS'
    (x to the right, y anterior, z superior), or 'voxels', along the volume's axes, where it has no affine."""

    vertices: np.ndarray
    faces: np.ndarray
    frame: str = "RAS"

    @property
    def volume_ml(self) -> float:
        """Of what a closed surface encloses."""
        a, b, c = (self.vertices[self.faces[:, i]].astype(np.float64) for i in range(3))
        return float(np.einsum("ij,ij->", a, np.cross(b, c))) / 6000

    def save(self, path: str | Path, comment: str = "") -> Path:
        """Write a binary .ply or .stl. Raises ConfigError for other suffixes, DenseError."""
        path = Path(path)
        kind = path.suffix.lower().removeprefix(".")
        if kind not in FORMATS:
            raise ConfigError(f"{path}: surfaces are written as .ply or .stl")
        write_bytes(path, self._ply(comment) if kind == "ply" else self._stl(comment))
        return path

    def _ply(self, comment: str) -> bytes:
        note = f"comment {comment}\n" if comment else ""
        head = (f"ply\nformat binary_little_endian 1.0\ncomment mm {self.frame}\n{note}"
                f"element vertex {len(self.vertices)}\nproperty float x\nproperty float y\nproperty float z\n"
                f"element face {len(self.faces)}\nproperty list uchar int vertex_indices\nend_header\n")
        faces = np.empty(len(self.faces), [("n", "u1"), ("v", "<i4", 3)])
        faces["n"], faces["v"] = 3, self.faces
        return head.encode("ascii", "replace") + self.vertices.astype("<f4").tobytes() + faces.tobytes()

    def _stl(self, comment: str) -> bytes:
        corners = self.vertices[self.faces]
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-30)
        facets = np.zeros(len(corners), [("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
        facets["normal"], facets["corners"] = normals, corners
        head = f"mm {self.frame} {comment}".encode("ascii", "replace")[:80].ljust(80, b" ")
        return head + np.uint32(len(corners)).astype("<u4").tobytes() + facets.tobytes()


def surface_of(mask: np.ndarray, spacing: tuple[float, float, float], affine: np.ndarray | None = None,
               smooth: int = 15, start: tuple[int, int, int] = (0, 0, 0)) -> Surface | None:
    """The closed surface around a mask (Z, Y, X), None of an empty one.

    spacing: mm along z, y, x, used where there is no ``affine`` (from an index (x, y, z) to RAS mm). smooth: passes of
    Taubin's smoothing (Taubin, "A signal processing approach to fair surface design", 1995); 0 leaves the steps. start:
    index (z, y, x) of the mask's first voxel, where it is a part of the volume.

    Raises MissingDependencyError without scikit-image.
    """
    try:
        from skimage.measure import marching_cubes
    except ImportError as error:
        raise MissingDependencyError(f"surfaces need scikit-image, which cannot be imported ({error}). Remedy: pip "
                                     "install 'dense[medical]'") from error
    if not mask.any():
        return None
    part = np.pad(mask.astype(np.float32), 1)  # so that it is closed at the volume's borders
    # Lewiner's variant leaves edges with four triangles where the values of a mask are a tie
    vertices, faces, _, _ = marching_cubes(part, 0.5, method="lorensen")
    vertices = (vertices + [s - 1 for s in start])[:, ::-1].astype(np.float64)  # x, y, z
    turn, origin = (np.diag(spacing[::-1]), np.zeros(3)) if affine is None else (affine[:3, :3], affine[:3, 3])
    made = Surface(_smoothed(vertices @ turn.T + origin, faces, smooth).astype(np.float32), faces.astype(np.int32),
                   "voxels" if affine is None else "RAS")
    return made if made.volume_ml >= 0 else replace(made, faces=made.faces[:, ::-1].copy())


def _smoothed(vertices: np.ndarray, faces: np.ndarray, passes: int) -> np.ndarray:
    if not passes:
        return vertices
    from scipy.sparse import coo_array

    ends = np.concatenate([faces, faces[:, [1, 2, 0]]]).ravel(), np.concatenate([faces[:, [1, 2, 0]], faces]).ravel()
    near = coo_array((np.ones(len(ends[0]), np.float32), ends), (len(vertices), len(vertices))).tocsr()
    near.data[:] = 1  # each neighbour once, however many triangles share the edge
    count = np.maximum(near.sum(axis=1), 1)[:, None]
    for _ in range(passes):
        for share in (_SHRINK, _GROW):
            vertices = vertices + share * (near @ vertices / count - vertices)
    return vertices
