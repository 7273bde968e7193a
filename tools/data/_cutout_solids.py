"""Thin objects made of tubes and panels: chairs, pylons, trees, cages, stairs. Axes as in _cutout_render."""

from collections.abc import Callable

import cv2
import numpy as np
from _cutout_render import Point, Scene, render
from numpy.random import Generator


def _paint(rng: Generator) -> np.ndarray:
    """Return a likely material colour, RGB 0..1: metal grey, wood, or lacquer."""
    kind = rng.integers(3)
    if kind == 0:
        return np.full(3, rng.uniform(0.15, 0.85)) + rng.uniform(-0.03, 0.03, 3)
    if kind == 1:
        return np.array([0.55, 0.36, 0.2]) * rng.uniform(0.5, 1.5)
    hue = np.uint8([[[rng.integers(180), rng.integers(90, 220), rng.integers(70, 230)]]])
    return cv2.cvtColor(hue, cv2.COLOR_HSV2RGB)[0, 0] / 255.0


def chair(rng: Generator) -> Scene:
    s, c, r = Scene(), _paint(rng), rng.uniform(0.015, 0.04)
    w, h, back = rng.uniform(0.4, 0.55), rng.uniform(0.45, 0.6), rng.uniform(0.5, 0.8)
    for x in (-w, w):
        s.tube((x * 1.1, -h, w * 1.1), (x, 0, w), r, c)
        s.tube((x * 1.1, -h, -w * 1.2), (x, 0, -w), r, c)
        s.tube((x, 0, -w), (x * 0.9, back, -w * 1.25), r, c)
        s.tube((x * 1.07, -h * 0.6, w), (x * 1.07, -h * 0.6, -w), r * 0.7, c)
    s.tube((-w * 0.9, back, -w * 1.25), (w * 0.9, back, -w * 1.25), r * 1.2, c)
    n = int(rng.integers(4, 8))
    for i in range(n):
        x = -w + 2 * w * (i + 0.5) / n
        s.tube((x, 0, -w), (x * 0.9, back, -w * 1.25), r * 0.5, c)
    for z in np.linspace(-w, w, int(rng.integers(5, 9))):
        s.tube((-w, 0, z), (w, 0, z), r * rng.uniform(0.7, 1.0), c)
    for x in (-w, w):
        s.tube((x, 0, -w), (x, 0, w), r, c)
    return s


def fence(rng: Generator) -> Scene:
    s, c, d = Scene(), _paint(rng), _paint(rng)
    n, r = int(rng.integers(6, 11)), rng.uniform(0.02, 0.05)
    for i in range(n):
        x = -1 + 2 * i / (n - 1)
        s.tube((x, -0.55, 0), (x, 0.5 + rng.uniform(-0.03, 0.03), 0), r, c)
        s.tube((x, 0.5, 0), (x, 0.62, 0), r, c, 0.005)
    for y in (-0.3, 0.3):
        s.tube((-1.08, y, 0.02), (1.08, y, 0.02), r * 0.8, d)
    for y in np.linspace(-0.15, 0.15, int(rng.integers(0, 4))):
        s.tube((-1.05, y, 0), (1.05, y, 0), r * 0.25, d)
    return s


def _wheel(s: Scene, centre: Point, radius: float, rng: Generator, c: np.ndarray, tyre: float) -> None:
    x, y, z = centre
    s.ring(centre, (radius, 0, 0), (0, radius, 0), tyre, np.full(3, 0.12), steps=56)
    s.ring(centre, (radius * 0.93, 0, 0), (0, radius * 0.93, 0), tyre * 0.5, c, steps=56)
    s.tube((x, y, z - 0.06), (x, y, z + 0.06), radius * 0.07, c)
    n = int(rng.integers(12, 25))
    for i in range(n):
        a = 2 * np.pi * i / n
        b = a + (0.5 if i % 2 else -0.5)
        s.tube((x + 0.06 * radius * np.cos(b), y + 0.06 * radius * np.sin(b), z + (0.04 if i % 2 else -0.04)),
               (x + radius * 0.93 * np.cos(a), y + radius * 0.93 * np.sin(a), z), 0.006, np.full(3, 0.7))


def wheel(rng: Generator) -> Scene:
    s = Scene()
    _wheel(s, (0, 0, 0), 1.0, rng, _paint(rng), rng.uniform(0.03, 0.06))
    return s


def bicycle(rng: Generator) -> Scene:
    s, c, k = Scene(), _paint(rng), np.full(3, 0.15)
    r, t = rng.uniform(0.38, 0.42), rng.uniform(0.016, 0.028)
    rear, front, crank = (-0.62, 0, 0), (0.62, 0, 0), (-0.08, -0.04, 0)
    seat, head, low = (-0.25, 0.5, 0), (0.42, 0.52, 0), (0.46, 0.4, 0)
    for hub in (rear, front):
        _wheel(s, hub, r, rng, np.full(3, 0.6), t * 0.9)
    for a, b in ((rear, crank), (rear, seat), (crank, seat), (crank, low), (seat, head), (head, low)):
        s.tube(a, b, t, c)
    s.tube(low, front, t * 0.8, c)
    s.tube(seat, (-0.29, 0.64, 0), t * 0.7, k)
    s.tube((-0.42, 0.66, 0), (-0.16, 0.65, 0), 0.045, k, 0.02)
    s.tube(head, (0.4, 0.64, 0), t * 0.7, k)
    for z in (-1, 1):
        s.path(np.array([(0.4, 0.64, 0), (0.42, 0.66, z * 0.2), (0.3, 0.66, z * 0.24)]), t * 0.8, k)
        s.tube((crank[0], crank[1], z * 0.05), (crank[0] + z * 0.1, crank[1] - z * 0.1, z * 0.08), t * 0.6, k)
    s.ring(crank, (0.09, 0, 0), (0, 0.09, 0), 0.01, k, steps=24)
    s.tube((crank[0], crank[1] + 0.09, 0.03), (rear[0], 0.03, 0.03), 0.006, k)
    s.tube((crank[0], crank[1] - 0.09, 0.03), (rear[0], -0.03, 0.03), 0.006, k)
    return s


def pylon(rng: Generator) -> Scene:
    s, c, r = Scene(), np.full(3, rng.uniform(0.3, 0.75)), rng.uniform(0.009, 0.016)
    levels = int(rng.integers(6, 10))
    widths = np.linspace(0.34, 0.07, levels + 1) ** rng.uniform(1.0, 1.3)
    ys = np.linspace(-1, 1, levels + 1)
    corner = [(-1, -1), (1, -1), (1, 1), (-1, 1)]
    for i in range(levels):
        for j in range(4):
            (a, b), (d, e) = corner[j], corner[(j + 1) % 4]
            w0, w1 = widths[i], widths[i + 1]
            s.tube((a * w0, ys[i], b * w0), (a * w1, ys[i + 1], b * w1), r, c)
            s.tube((a * w0, ys[i], b * w0), (d * w1, ys[i + 1], e * w1), r * 0.6, c)
            s.tube((d * w0, ys[i], e * w0), (a * w1, ys[i + 1], b * w1), r * 0.6, c)
            s.tube((a * w1, ys[i + 1], b * w1), (d * w1, ys[i + 1], e * w1), r * 0.6, c)
    for k in range(int(rng.integers(2, 4))):
        y, arm = 0.95 - 0.3 * k, rng.uniform(0.35, 0.6)
        for x in (-arm, arm):
            w = 0.1
            s.tube((0, y, w), (x, y - 0.05, 0), r, c)
            s.tube((0, y, -w), (x, y - 0.05, 0), r, c)
            s.tube((0, y - 0.16, 0), (x, y - 0.05, 0), r, c)
            s.tube((x, y - 0.05, 0), (x, y - 0.17, 0), r * 1.6, np.array([0.5, 0.3, 0.25]))
    return s


def _grow(s: Scene, rng: Generator, base: np.ndarray, way: np.ndarray, length: float, radius: float,
          left: int, bark: np.ndarray, leaf: np.ndarray | None) -> None:
    bend = way + rng.normal(0, 0.12, 3)
    middle = base + way * length * 0.5
    tip = middle + bend / np.linalg.norm(bend) * length * 0.5
    s.tube(base, middle, radius, bark, radius * 0.85)
    s.tube(middle, tip, radius * 0.85, bark, radius * 0.65)
    if left == 0:
        if leaf is not None:
            for _ in range(int(rng.integers(2, 5))):
                _leaf(s, rng, tip, bend + rng.normal(0, 0.7, 3), rng.uniform(0.07, 0.13), leaf)
        return
    for _ in range(int(rng.integers(2, 4))):
        turn = way + rng.normal(0, 0.55, 3)
        turn[1] += 0.15
        _grow(s, rng, tip, turn / np.linalg.norm(turn), length * rng.uniform(0.62, 0.85), radius * 0.62,
              left - 1, bark, leaf)


def _leaf(s: Scene, rng: Generator, base: np.ndarray, way: np.ndarray, length: float, c: np.ndarray) -> None:
    way = way / (np.linalg.norm(way) + 1e-9)
    side = np.cross(way, rng.normal(0, 1, 3))
    side *= 0.28 * length / (np.linalg.norm(side) + 1e-9)
    t = np.array([0, 0.2, 0.5, 0.8])
    w = np.array([0.1, 0.8, 1.0, 0.55])
    left = base + way * (t * length)[:, None] + side * w[:, None]
    right = base + way * (t * length)[:, None] - side * w[:, None]
    outline = np.concatenate([left, [base + way * length], right[::-1]])
    s.panel(outline, c * rng.uniform(0.75, 1.25))


def bare_tree(rng: Generator) -> Scene:
    s, bark = Scene(), np.array([0.42, 0.32, 0.24]) * rng.uniform(0.5, 1.5)
    _grow(s, rng, np.zeros(3), np.array([0, 1.0, 0]), 0.7, 0.06, 5, bark, None)
    return s


def fern(rng: Generator) -> Scene:
    s, green = Scene(), np.array([rng.uniform(0.15, 0.4), rng.uniform(0.4, 0.6), 0.15])
    pot = _paint(rng)
    for y in np.linspace(-0.4, 0, 16):
        s.ring((0, y, 0), (0.22 + 0.2 * y, 0, 0), (0, 0, 0.22 + 0.2 * y), 0.03, pot, steps=24)
    for i in range(int(rng.integers(9, 15))):
        a, lean, size = 2.4 * i + rng.uniform(0, 1), rng.uniform(0.25, 0.9), rng.uniform(0.6, 1.0)
        t = np.linspace(0, 1, 14)
        out = lean * size * t
        stem = np.stack([np.cos(a) * out, size * (t - 0.6 * lean * t * t), np.sin(a) * out], 1)
        s.path(stem, 0.009, green * 0.8)
        for j in range(3, 14):
            for sign in (-1, 1):
                way = sign * np.array([-np.sin(a), 0.1, np.cos(a)]) + 0.6 * (stem[j] - stem[j - 1]) * 13
                _leaf(s, rng, stem[j], way, 0.2 * size * (1.15 - t[j]), green)
    return s


def birdcage(rng: Generator) -> Scene:
    s, c, r = Scene(), _paint(rng), rng.uniform(0.008, 0.016)
    n, h, w = int(rng.integers(14, 23)), rng.uniform(0.4, 0.7), rng.uniform(0.45, 0.6)
    for i in range(n):
        a = 2 * np.pi * i / n
        x, z = w * np.cos(a), w * np.sin(a)
        s.tube((x, -h, z), (x, h * 0.5, z), r, c)
        s.ring((0, h * 0.5, 0), (x, 0, z), (0, w, 0), r, c, 0, np.pi / 2, 12)
    for y in (-h, -h * 0.5, 0, h * 0.5):
        s.ring((0, y, 0), (w, 0, 0), (0, 0, w), r * 1.4, c)
    s.ring((0, h * 0.5 + w + 0.08, 0), (0.08, 0, 0), (0, 0.08, 0), r * 1.4, c, steps=20)
    s.tube((-0.3, -0.1, 0), (0.3, -0.1, 0), r * 2, np.array([0.5, 0.35, 0.2]))
    return s


def stepladder(rng: Generator) -> Scene:
    s, c, r = Scene(), _paint(rng), rng.uniform(0.025, 0.04)
    n, spread = int(rng.integers(5, 8)), rng.uniform(0.35, 0.55)
    for x in (-1, 1):
        s.tube((x * 0.38, -1, spread), (x * 0.22, 1, 0), r, c)
        s.tube((x * 0.38, -1, -spread), (x * 0.22, 1, 0), r, c)
    for i in range(n):
        t = (i + 0.7) / n
        x, y, z = 0.38 - 0.16 * t, -1 + 2 * t, spread * (1 - t)
        for k in (-0.03, 0, 0.03):
            s.tube((-x, y, z + k), (x, y, z + k), r * 0.8, c)
        if i % 2:
            s.tube((-x, y, -z), (x, y, -z), r * 0.6, c)
    return s


def table(rng: Generator) -> Scene:
    s, c, d, w = Scene(), _paint(rng), _paint(rng), rng.uniform(0.4, 0.7)
    s.panel([(-0.9, 0.4, -w), (0.9, 0.4, -w), (0.9, 0.4, w), (-0.9, 0.4, w)], c)
    rim = np.array([(-0.9, 0.39, w), (0.9, 0.39, w), (0.9, 0.39, -w), (-0.9, 0.39, -w), (-0.9, 0.39, w)])
    s.path(rim, 0.03, c)
    for x in (-0.8, 0.8):
        s.tube((x, 0.38, w * 0.85), (x * 0.8, -0.5, -w * 0.85), 0.025, d)
        s.tube((x, 0.38, -w * 0.85), (x * 0.8, -0.5, w * 0.85), 0.025, d)
    s.tube((-0.72, -0.06, 0), (0.72, -0.06, 0), 0.018, d)
    return s


def wire_basket(rng: Generator) -> Scene:
    s, c, r, w = Scene(), _paint(rng), rng.uniform(0.008, 0.016), rng.uniform(0.5, 0.7)
    n = int(rng.integers(14, 24))
    for y, k in zip(np.linspace(-0.35, 0.35, 6), np.linspace(0.7, 1.0, 6), strict=True):
        s.ring((0, y, 0), (w * k, 0, 0), (0, 0, w * k), r * (1.8 if k == 1.0 else 1), c)
    for i in range(n):
        a = 2 * np.pi * i / n
        x, z = w * np.cos(a), w * np.sin(a)
        s.tube((0.7 * x, -0.35, 0.7 * z), (x, 0.35, z), r, c)
        s.tube((0.7 * x, -0.35, 0.7 * z), (0, -0.35, 0), r, c)
    s.ring((0, 0.35, 0), (w, 0, 0), (0, 0.6, 0), r * 2, c, 0, np.pi)
    return s


def gate(rng: Generator) -> Scene:
    s, c, r = Scene(), np.full(3, rng.uniform(0.08, 0.4)), rng.uniform(0.012, 0.024)
    n, top = int(rng.integers(7, 12)), rng.uniform(0.1, 0.4)
    for i in range(n):
        x = -0.8 + 1.6 * i / (n - 1)
        y = 0.5 + top * np.cos(x * np.pi / 1.6)
        s.tube((x, -0.8, 0), (x, y, 0), r, c)
        s.tube((x, y, 0), (x, y + 0.1, 0), r * 1.6, c, 0.003)
        if i < n - 1:
            m = x + 0.8 / (n - 1)
            for y0 in (-0.5, 0.3):
                t = np.linspace(0, 4 * np.pi, 30)
                size = 0.06 * (1 - t / 14)
                s.path(np.stack([m + size * np.cos(t), y0 + size * np.sin(t), 0 * t], 1), r * 0.6, c)
    for y in (-0.75, -0.4, 0.2, 0.4):
        s.tube((-0.85, y, 0), (0.85, y, 0), r * 1.2, c)
    for x in (-0.88, 0.88):
        s.tube((x, -0.85, 0), (x, 0.7, 0), r * 2.5, c)
    return s


def antenna(rng: Generator) -> Scene:
    s, c, r = Scene(), np.full(3, rng.uniform(0.4, 0.85)), rng.uniform(0.01, 0.02)
    s.tube((0, -1, 0), (0, 0.5, 0), r * 2, c)
    for y in (0.45, -0.1)[: int(rng.integers(1, 3))]:
        s.tube((-0.8, y, 0), (0.8, y, 0), r * 1.3, c)
        for x in np.linspace(-0.8, 0.8, int(rng.integers(7, 13))):
            w = 0.3 + 0.15 * x
            s.tube((x, y, -w), (x, y, w), r * 0.7, c)
            s.tube((x, y - 0.4 * w, 0), (x, y + 0.4 * w, 0), r * 0.7, c)
    return s


def coat_stand(rng: Generator) -> Scene:
    s, c, r = Scene(), _paint(rng), rng.uniform(0.025, 0.04)
    s.tube((0, -1, 0), (0, 0.95, 0), r, c)
    n = int(rng.integers(3, 6))
    for i in range(n):
        a = 2 * np.pi * i / n + 0.3
        x, z = np.cos(a), np.sin(a)
        s.ring((0.2 * x, 0.7, 0.2 * z), (-0.2 * x, 0, -0.2 * z), (0, -0.15, 0), r * 0.6, c, 0, np.pi, 14)
        s.tube((0.4 * x, 0.7, 0.4 * z), (0.42 * x, 0.85, 0.42 * z), r * 0.7, c)
        s.tube((0, -0.75, 0), (0.4 * x, -1, 0.4 * z), r * 0.8, c)
    return s


def spiral_stair(rng: Generator) -> Scene:
    s, c, d = Scene(), _paint(rng), _paint(rng)
    n, turns = int(rng.integers(14, 20)), rng.uniform(1.2, 1.8)
    s.tube((0, -1, 0), (0, 1.15, 0), 0.045, c)
    rail = []
    for i in range(n):
        a, b, y = (2 * np.pi * turns * k / n for k in (i, i + 0.9, 0))
        y = -0.95 + 1.7 * i / n
        s.panel([(0, y, 0), (0.6 * np.cos(a), y, 0.6 * np.sin(a)), (0.6 * np.cos(b), y, 0.6 * np.sin(b))], d)
        s.tube((0, y, 0), (0.6 * np.cos(a), y, 0.6 * np.sin(a)), 0.014, c)
        top = (0.6 * np.cos(a), y + 0.4, 0.6 * np.sin(a))
        s.tube((top[0], y, top[2]), top, 0.012, c)
        rail.append(top)
    s.path(np.array(rail), 0.02, c)
    return s


def drying_rack(rng: Generator) -> Scene:
    s, c, r = Scene(), np.full(3, rng.uniform(0.3, 0.9)), rng.uniform(0.014, 0.024)
    for z in (-0.4, 0.4):
        s.tube((-0.5, -0.6, z), (0.5, 0.35, z), r, c)
        s.tube((0.5, -0.6, z), (-0.5, 0.35, z), r, c)
        s.tube((-0.5, 0.35, z), (0.5, 0.35, z), r, c)
        s.tube((-0.5, 0.35, z), (-1.0, 0.55, z), r, c)
        s.tube((0.5, 0.35, z), (1.0, 0.55, z), r, c)
    for x in np.linspace(-0.5, 0.5, int(rng.integers(7, 12))):
        s.tube((x, 0.35, -0.4), (x, 0.35, 0.4), r * 0.45, c)
    for k in np.linspace(0.2, 1.0, 4):
        for sign in (-1, 1):
            x, y = sign * (0.5 + 0.5 * k), 0.35 + 0.2 * k
            s.tube((x, y, -0.4), (x, y, 0.4), r * 0.45, c)
    return s


def crane(rng: Generator) -> Scene:
    s, c, r = Scene(), _paint(rng), rng.uniform(0.008, 0.014)

    def truss(a: np.ndarray, b: np.ndarray, w: float, n: int, u: np.ndarray, v: np.ndarray) -> None:
        sides = [(-u - v) * w, (u - v) * w, (u + v) * w, (v - u) * w]
        for i in range(n):
            p, q = a + (b - a) * i / n, a + (b - a) * (i + 1) / n
            for j in range(4):
                s.tube(p + sides[j], q + sides[j], r, c)
                s.tube(p + sides[j], q + sides[(j + 1) % 4], r * 0.6, c)
                s.tube(q + sides[j], q + sides[(j + 1) % 4], r * 0.6, c)

    x, y, z = np.eye(3)
    truss(-1.0 * y, 0.5 * y, 0.07, 13, x, z)
    truss(0.5 * y - 0.4 * x, 0.5 * y + 1.1 * x, 0.05, 15, y, z)
    s.tube(0.5 * y, 0.85 * y, r * 2, c)
    s.tube(0.85 * y, 0.55 * y + 0.9 * x, r, c)
    s.tube(0.85 * y, 0.55 * y - 0.38 * x, r, c)
    hook = rng.uniform(0.4, 0.9)
    s.tube(0.45 * y + hook * x, -0.1 * y + hook * x, r * 0.6, np.full(3, 0.2))
    s.ring((hook, -0.16, 0), (0.04, 0, 0), (0, 0.05, 0), r, np.full(3, 0.2), np.pi / 2, 2 * np.pi, 14)
    weight = [(-0.4, 0.42, 0.07), (-0.25, 0.42, 0.07), (-0.25, 0.26, 0.07), (-0.4, 0.26, 0.07)]
    s.panel(weight, np.full(3, 0.45))
    return s


def easel(rng: Generator) -> Scene:
    s, c, r = Scene(), np.array([0.6, 0.42, 0.25]) * rng.uniform(0.6, 1.3), rng.uniform(0.02, 0.035)
    for x in (-1, 1):
        s.tube((x * 0.5, -1, 0.3), (x * 0.08, 1, -0.05), r, c)
    s.tube((0, -1, -0.5), (0, 0.95, -0.08), r, c)
    s.tube((-0.42, -0.35, 0.22), (0.42, -0.35, 0.22), r * 1.4, c)
    s.tube((-0.2, 0.5, 0.03), (0.2, 0.5, 0.03), r * 0.8, c)
    w, frame = rng.uniform(0.28, 0.42), _paint(rng)
    low, high = (-0.3, 0.24), (0.5, 0.144)
    s.path(np.array([(-w, *low), (w, *low), (w, *high), (-w, *high), (-w, *low)]), 0.03, frame)
    return s


def leafy_branch(rng: Generator) -> Scene:
    s = Scene()
    green = np.array([rng.uniform(0.2, 0.6), rng.uniform(0.35, 0.6), rng.uniform(0.1, 0.25)])
    _grow(s, rng, np.zeros(3), np.array([0.3, 1.0, 0]), 0.45, 0.025, 3, np.array([0.35, 0.26, 0.18]), green)
    return s


def swing(rng: Generator) -> Scene:
    s, c, d, r = Scene(), _paint(rng), _paint(rng), rng.uniform(0.025, 0.04)
    s.tube((-0.9, 0.8, 0), (0.9, 0.8, 0), r, c)
    for x in (-0.9, 0.9):
        for z in (-0.5, 0.5):
            s.tube((x, 0.8, 0), (x * 1.15, -0.8, z), r, c)
        s.tube((x * 1.09, -0.1, -0.28), (x * 1.09, -0.1, 0.28), r * 0.7, c)
    for x in (-0.4, 0.4):
        z, y = rng.uniform(-0.3, 0.3), -0.4
        for k in (-0.17, 0.17):
            s.tube((x + k, 0.8, 0), (x + k, y, z), 0.012, np.full(3, 0.4))
        for k in (-0.05, 0, 0.05):
            s.tube((x - 0.2, y, z + k), (x + 0.2, y, z + k), 0.03, d)
    return s


def stool(rng: Generator) -> Scene:
    s, c, d, r = Scene(), _paint(rng), _paint(rng), rng.uniform(0.018, 0.035)
    n = int(rng.integers(3, 6))
    for i in range(n):
        a = 2 * np.pi * i / n + 0.4
        s.tube((0.2 * np.cos(a), 0.6, 0.2 * np.sin(a)), (0.45 * np.cos(a), -0.8, 0.45 * np.sin(a)), r, c)
    s.ring((0, -0.3, 0), (0.37, 0, 0), (0, 0, 0.37), r * 0.7, c)
    t = np.linspace(0, 2 * np.pi, 33)[:-1]
    s.panel(np.stack([0.38 * np.cos(t), 0 * t + 0.64, 0.38 * np.sin(t)], 1), d)
    s.ring((0, 0.61, 0), (0.36, 0, 0), (0, 0, 0.36), 0.035, d)
    return s


def harp(rng: Generator) -> Scene:
    s, c, gut = Scene(), _paint(rng), np.full(3, rng.uniform(0.5, 0.95))
    r, n = rng.uniform(0.03, 0.05), int(rng.integers(18, 30))
    foot, top = np.array([-0.55, -0.9, 0]), np.array([0.6, 0.75, 0])
    t = np.linspace(0, 1, 24)[:, None]
    neck = np.array([-0.6, 1.0, 0]) * (1 - t) + top * t - np.array([0, 0.28, 0]) * np.sin(np.pi * t)
    s.path(neck, r, c)
    s.tube(foot, neck[0], r * 1.2, c)
    s.tube(foot, top, r * 1.5, c, r)
    for k in np.linspace(0.08, 0.92, n):
        s.tube(foot + k * (top - foot), neck[round(k * 23)], rng.uniform(0.003, 0.006), gut)
    s.tube(foot - np.array([0.15, 0, -0.1]), foot + np.array([0.4, 0, 0.1]), r, c)
    return s


def tuft(rng: Generator) -> Scene:
    s, c, hair = Scene(), _paint(rng), _paint(rng)
    s.tube((0, -1, 0), (0, -0.1, 0), 0.05, c, 0.07)
    s.tube((0, -0.1, 0), (0, 0.02, 0), 0.09, c * 0.6)
    t = np.linspace(0, 1, 9)[:, None]
    for _ in range(int(rng.integers(90, 170))):
        way = np.array([rng.normal(0, 0.55), rng.uniform(0.7, 1.1), rng.normal(0, 0.4)])
        bend = np.array([rng.normal(0, 0.25), -rng.uniform(0, 0.35), rng.normal(0, 0.2)])
        root = np.array([rng.uniform(-0.07, 0.07), 0, rng.uniform(-0.07, 0.07)])
        s.path(root + way * t + bend * t * t, rng.uniform(0.002, 0.006), hair * rng.uniform(0.7, 1.3))
    return s


def trellis(rng: Generator) -> Scene:
    s, c, r = Scene(), _paint(rng), rng.uniform(0.007, 0.014)
    w, h, n = rng.uniform(0.5, 0.9), 0.9, int(rng.integers(7, 13))
    corners = np.array([(-w, -h, 0), (w, -h, 0), (w, h, 0), (-w, h, 0), (-w, -h, 0)])
    s.path(corners, r * 2.2, c)
    for k in np.linspace(-1, 1, 2 * n + 1)[1:-1] * (w + h):
        for sign, z in ((1, 0.01), (-1, -0.01)):  # x = sign * (y + k), cut to the frame
            low, high = max(-h, -w - k), min(h, w - k)
            if high - low > 0.03:
                s.tube((sign * (low + k), low, z), (sign * (high + k), high, z), r, c)
    s.tube((-w * 0.7, -h - 0.25, 0), (-w * 0.7, -h, 0), r * 2, c)
    s.tube((w * 0.7, -h - 0.25, 0), (w * 0.7, -h, 0), r * 2, c)
    return s


BUILDERS: dict[str, dict[str, Callable[[Generator], Scene]]] = {
    "train": {f.__name__: f for f in (
        chair, fence, wheel, bicycle, pylon, bare_tree, fern, birdcage, stepladder, table, wire_basket, gate,
        antenna, coat_stand)},
    "val": {f.__name__: f for f in (
        spiral_stair, drying_rack, crane, easel, leafy_branch, swing, stool)},
    "thin": {f.__name__: f for f in (harp, tuft, trellis)},
}


def make(split: str, kind: str, rng: Generator, size: int = 1536) -> np.ndarray:
    """Build and render one object of `kind`, straight RGBA uint8 (size, size, 4)."""
    return render(BUILDERS[split][kind](rng), rng, size)
