"""A small renderer for shaded tubes and flat panels with a depth buffer.

Axes: x right, y up, z towards the viewer; units are free, the render is fitted to the frame.
"""

from itertools import pairwise

import cv2
import numpy as np
from numpy.random import Generator

Point = tuple[float, float, float]


class Scene:
    """Collects tubes (round, tapered) and flat convex panels, each with an RGB colour in 0..1."""

    def __init__(self) -> None:
        self.tubes: list[tuple[np.ndarray, np.ndarray, float, float, np.ndarray]] = []
        self.panels: list[tuple[np.ndarray, np.ndarray]] = []

    def tube(self, a: Point, b: Point, radius: float, colour: np.ndarray, end: float | None = None) -> None:
        """Add a tube from a to b with `radius` at a and `end` (default: the same) at b."""
        self.tubes.append((np.asarray(a, float), np.asarray(b, float), radius,
                           radius if end is None else end, np.asarray(colour, float)))

    def path(self, points: np.ndarray, radius: float, colour: np.ndarray) -> None:
        """Add tubes along points (N, 3)."""
        for a, b in pairwise(points):
            self.tube(a, b, radius, colour)

    def ring(self, centre: Point, u: Point, v: Point, radius: float, colour: np.ndarray,
             start: float = 0.0, stop: float = 2 * np.pi, steps: int = 40) -> None:
        """Add an arc centre + u cos + v sin, from start to stop radians."""
        t = np.linspace(start, stop, steps + 1)[:, None]
        self.path(np.asarray(centre, float) + np.cos(t) * np.asarray(u, float)
                  + np.sin(t) * np.asarray(v, float), radius, colour)

    def panel(self, corners: list[Point] | np.ndarray, colour: np.ndarray) -> None:
        """Add a flat convex panel with corners (N, 3) in order."""
        self.panels.append((np.asarray(corners, float), np.asarray(colour, float)))


def _turn(yaw: float, pitch: float) -> np.ndarray:
    cy, sy, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    return np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]]) @ np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])


def render(scene: Scene, rng: Generator, size: int = 1536, yaw: tuple[float, float] = (-0.7, 0.7),
           pitch: tuple[float, float] = (0.05, 0.4)) -> np.ndarray:
    """Render to straight RGBA uint8 (size, size, 4) with hard edges; shrink it to get soft ones."""
    turn = _turn(rng.uniform(*yaw), rng.uniform(*pitch))
    points = np.concatenate([np.stack([t[0] for t in scene.tubes] + [t[1] for t in scene.tubes])]
                            + [p[0] for p in scene.panels])
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    reach = float(np.abs(points - middle).max())
    distance = rng.uniform(3.0, 6.0) * reach

    def project(p: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        q = (p - middle) @ turn.T
        zoom = distance / (distance - q[..., 2])
        return q[..., 0] * zoom, -q[..., 1] * zoom, np.stack([q[..., 2], zoom])

    x, y, _ = project(points)
    fat = max((max(t[2], t[3]) for t in scene.tubes), default=0.0) * 1.4
    scale = 0.96 * size / max(np.ptp(x) + 2 * fat, np.ptp(y) + 2 * fat)
    ox, oy = size / 2 - scale * (x.min() + x.max()) / 2, size / 2 - scale * (y.min() + y.max()) / 2

    depth = np.full((size, size), -np.inf, np.float32)
    colour = np.zeros((size, size, 3), np.float32)
    light = np.array([rng.uniform(-0.8, 0.8), -rng.uniform(0.3, 1.0), rng.uniform(0.5, 1.0)])
    light /= np.linalg.norm(light)
    half = light + np.array([0, 0, 1.0])
    half /= np.linalg.norm(half)
    ambient, gloss, sharp = rng.uniform(0.3, 0.5), rng.uniform(0.0, 0.7), rng.uniform(8, 40)

    def paint(box: tuple[int, int, int, int], inside: np.ndarray, z: np.ndarray, diffuse: np.ndarray,
              shine: np.ndarray, base: np.ndarray) -> None:
        x0, y0, x1, y1 = box
        seen = inside & (z > depth[y0:y1, x0:x1])
        shade = (ambient + (1 - ambient) * diffuse)[..., None] * base + (gloss * shine)[..., None]
        depth[y0:y1, x0:x1][seen] = z[seen]
        colour[y0:y1, x0:x1][seen] = shade[seen]

    for a, b, ra, rb, base in scene.tubes:
        ends = np.stack([a, b])
        px, py, (pz, zoom) = project(ends)
        px, py = ox + scale * px, oy + scale * py
        r = np.array([ra, rb]) * scale * zoom
        pieces = max(1, int(np.ceil(np.hypot(px[1] - px[0], py[1] - py[0]) / max(48.0, 2 * r.max()))))
        t = np.linspace(0, 1, pieces + 1)
        sx, sy = px[0] + t * (px[1] - px[0]), py[0] + t * (py[1] - py[0])
        sz, sr = pz[0] + t * (pz[1] - pz[0]), np.maximum(r[0] + t * (r[1] - r[0]), 0.8)
        for i in range(pieces):
            m = max(sr[i], sr[i + 1]) + 1
            x0, x1 = int(max(0, min(sx[i], sx[i + 1]) - m)), int(min(size, max(sx[i], sx[i + 1]) + m + 1))
            y0, y1 = int(max(0, min(sy[i], sy[i + 1]) - m)), int(min(size, max(sy[i], sy[i + 1]) + m + 1))
            if x1 <= x0 or y1 <= y0:
                continue
            gx, gy = np.meshgrid(np.arange(x0, x1) + 0.5, np.arange(y0, y1) + 0.5)
            dx, dy = sx[i + 1] - sx[i], sy[i + 1] - sy[i]
            run = max(dx * dx + dy * dy, 1e-6)
            along = ((gx - sx[i]) * dx + (gy - sy[i]) * dy) / run
            # Shading uses the distance from the axis even on the round ends, so that joints show no bands.
            across = ((gx - sx[i]) * dy - (gy - sy[i]) * dx) / np.sqrt(run)
            slack = 1.0 / np.sqrt(run)
            near = (along > -slack if i else True) & (along < 1 + slack if i < pieces - 1 else True)
            along = np.clip(along, 0, 1)
            width = sr[i] + along * (sr[i + 1] - sr[i])
            away = np.hypot(gx - sx[i] - along * dx, gy - sy[i] - along * dy) / width
            side = np.clip(across / width, -1, 1)
            nx, ny = side * dy / np.sqrt(run), -side * dx / np.sqrt(run)
            nz = np.sqrt(1 - side * side)
            facing = nx * light[0] + ny * light[1] + nz * light[2]
            shine = np.clip(nx * half[0] + ny * half[1] + nz * half[2], 0, 1) ** sharp
            z = sz[i] + along * (sz[i + 1] - sz[i]) + nz * width / scale
            paint((x0, y0, x1, y1), (away < 1) & near, z.astype(np.float32), np.clip(facing, 0, 1),
                  shine, base)

    for corners, base in scene.panels:
        px, py, (pz, _) = project(corners)
        px, py = ox + scale * px, oy + scale * py
        x0, x1 = int(max(0, px.min())), int(min(size, px.max() + 2))
        y0, y1 = int(max(0, py.min())), int(min(size, py.max() + 2))
        if x1 <= x0 or y1 <= y0:
            continue
        inside = np.zeros((y1 - y0, x1 - x0), np.uint8)
        cv2.fillConvexPoly(inside, np.round(np.stack([px - x0, py - y0], 1)).astype(np.int32), 1)
        plane = np.linalg.lstsq(np.stack([px, py, np.ones_like(px)], 1), pz, rcond=None)[0]
        gx, gy = np.meshgrid(np.arange(x0, x1) + 0.5, np.arange(y0, y1) + 0.5)
        z = plane[0] * gx + plane[1] * gy + plane[2]
        normal = turn @ np.cross(corners[1] - corners[0], corners[2] - corners[0])
        normal *= np.sign(normal[2]) / (np.linalg.norm(normal) + 1e-9)
        facing = np.clip(normal @ (light * [1, -1, 1]), 0, 1) * np.ones_like(z)
        paint((x0, y0, x1, y1), inside > 0, z.astype(np.float32), facing, 0.15 * facing ** sharp, base)

    alpha = np.isfinite(depth)
    rgba = np.dstack([np.clip(colour, 0, 1), alpha]) * 255
    return np.round(rgba).astype(np.uint8)
