"""Street scenes with exact labels, rendered in numpy and OpenCV: far things first, near ones over them.

Everything is drawn at three times the size and shrunk: the picture by area, so that edges are soft, the labels to the
class in the middle of each pixel. Surfaces are crops of photographed textures, recoloured.
"""
from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

CLASSES = ("sky", "building", "vegetation", "ground", "road", "vehicle")
COLOURS = ((70, 130, 180), (70, 70, 70), (107, 142, 35), (170, 120, 80), (128, 64, 128), (0, 0, 200))
SKY, BUILDING, VEGETATION, GROUND, ROAD, VEHICLE = range(6)
IGNORE = 255
SUPER = 3

Colour = Sequence[float]


@dataclass
class Scene:
    """A canvas: picture float32 (h, w, 3) 0..1 and labels uint8 (h, w), both ``SUPER`` times the final size.

    textures: grey float32 around 1, by name. horizon: row; centre: column of the vanishing point; sun: -1 left .. 1.
    light: colour of the light.
    """

    rng: np.random.Generator
    textures: dict[str, np.ndarray]
    height: int
    width: int
    horizon: float = 0.0
    centre: float = 0.0
    sun: float = 0.0
    light: np.ndarray = field(default_factory=lambda: np.ones(3))

    def __post_init__(self) -> None:
        self.height, self.width = self.height * SUPER, self.width * SUPER
        self.picture = np.zeros((self.height, self.width, 3), np.float32)
        self.labels = np.full((self.height, self.width), SKY, np.uint8)

    def paint(self, mask: np.ndarray, colour: np.ndarray, label: int | None) -> None:
        """Lay ``colour`` (h, w, 3) or (3,) where ``mask`` (bool or 0..1) is, and the label; None keeps labels."""
        x, y, w, h = cv2.boundingRect((mask > 0).view(np.uint8))
        part = np.s_[y:y + h, x:x + w]
        alpha = mask[part][..., None].astype(np.float32)
        colour = np.asarray(colour, np.float32)
        over = colour[part] if colour.ndim == 3 else colour
        self.picture[part] = self.picture[part] * (1 - alpha) + over * alpha
        if label is not None:
            self.labels[part][mask[part] > 0.5] = label

    def polygon(self, points: np.ndarray) -> np.ndarray:
        """bool (h, w): the inside of a polygon (n, 2) of x, y."""
        mask = np.zeros((self.height, self.width), np.uint8)
        cv2.fillPoly(mask, [np.rint(points).astype(np.int32)], 1)
        return mask.view(bool)

    def row(self, depth: float) -> float:
        """Row where the ground is ``depth`` away; 1 is the lower edge, infinity the horizon."""
        return self.horizon + (self.height - self.horizon) / depth

    def surface(self, name: str, colour: Colour, scale: float, contrast: float = 1.0) -> np.ndarray:
        """float32 (h, w, 3): a flat texture in a colour, ``scale`` pixels of the canvas to one of the texture."""
        texture = self.textures[name]
        need = (int(self.height / scale) + 2, int(self.width / scale) + 2)
        tile = np.tile(texture, [-(-n // s) + 1 for n, s in zip(need, texture.shape, strict=True)])
        y, x = (int(self.rng.integers(s)) for s in texture.shape)
        part = tile[y:y + need[0], x:x + need[1]]
        grey = cv2.resize(part, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)[:self.height, :self.width]
        return (1 + contrast * (grey - 1))[..., None] * np.float32(colour) * self.light.astype(np.float32)

    def floor(self, name: str, colour: Colour, scale: float, contrast: float = 1.0) -> np.ndarray:
        """float32 (h, w, 3): a texture on the ground, in perspective."""
        texture = self.textures[name]
        y = np.arange(self.height, dtype=np.float32)[:, None]
        depth = (self.height - self.horizon) / np.maximum(y - self.horizon, 0.5)
        x = np.arange(self.width, dtype=np.float32)[None]
        shift = self.rng.uniform(0, 1000, 2)
        map_x = (scale * depth * (x - self.centre) / self.width * 300 + shift[0]) % (texture.shape[1] - 1)
        map_y = np.broadcast_to((scale * depth * 260 + shift[1]) % (texture.shape[0] - 1), map_x.shape)
        grey = cv2.remap(texture, map_x.astype(np.float32), map_y.astype(np.float32), cv2.INTER_LINEAR)
        grey = 1 + contrast * (grey - 1) / np.maximum(1, depth / 2)  # far away it blurs into one tone
        return grey[..., None] * np.float32(colour) * self.light.astype(np.float32)


def fractal(rng: np.random.Generator, shape: tuple[int, int], octaves: int = 5, first: int = 3) -> np.ndarray:
    """float32 (h, w), 0..1: noise of several scales."""
    out = np.zeros(shape, np.float32)
    for octave in range(octaves):
        cells = first * 2 ** octave
        grid = rng.random((cells + 2, round(cells * shape[1] / shape[0]) + 2), np.float32)
        out += cv2.resize(grid, shape[::-1], interpolation=cv2.INTER_CUBIC) / 2 ** octave
    low, high = np.percentile(out, (1, 99))
    return np.clip((out - low) / (high - low), 0, 1)


def mix(rng: np.random.Generator, *colours: Colour) -> np.ndarray:
    """A colour between some, with a slight cast of its own."""
    weights = rng.dirichlet(np.ones(len(colours)))
    return np.clip(weights @ np.array(colours) * rng.uniform(0.92, 1.08, 3), 0, 1)


def draw_sky(scene: Scene) -> None:
    """A gradient, and clouds on most days."""
    rng = scene.rng
    high, low = {0: ((0.25, 0.45, 0.8), (0.72, 0.83, 0.94)), 1: ((0.55, 0.58, 0.62), (0.78, 0.79, 0.8)),
                 2: ((0.35, 0.38, 0.6), (0.96, 0.72, 0.5))}[int(rng.choice(3, p=(0.5, 0.3, 0.2)))]
    t = np.clip(np.arange(scene.height) / max(1, scene.horizon), 0, 1)[:, None, None] ** rng.uniform(0.6, 1.4)
    scene.picture[:] = mix(rng, high) * (1 - t) + mix(rng, low) * t
    if rng.random() < 0.75:
        clouds = np.clip((fractal(rng, scene.labels.shape) - rng.uniform(0.35, 0.7)) * rng.uniform(1.5, 4), 0, 1)
        scene.paint(clouds * rng.uniform(0.4, 0.95), np.full(3, rng.uniform(0.82, 0.98)), None)


def draw_ground(scene: Scene) -> None:
    """Gravel, bare soil or a lawn up to the horizon, and mostly a road with its markings."""
    rng, below = scene.rng, np.zeros(scene.labels.shape, bool)
    below[int(scene.horizon):] = True
    if rng.random() < 0.5:
        scene.paint(below, scene.floor("grass", mix(rng, (0.3, 0.42, 0.14), (0.42, 0.45, 0.2)), 1.4), VEGETATION)
    else:
        scene.paint(below, scene.floor("gravel", mix(rng, (0.62, 0.54, 0.42), (0.55, 0.52, 0.5), (0.5, 0.38, 0.27)),
                                       rng.uniform(0.8, 1.6)), GROUND)
    if rng.random() < 0.88:
        draw_road(scene)


def draw_road(scene: Scene) -> None:
    """From the lower edge to the vanishing point, perhaps with a pavement at its sides."""
    rng = scene.rng
    half, offset = rng.uniform(0.28, 0.6) * scene.width, rng.uniform(-0.25, 0.25) * scene.width

    def strip(left: float, right: float, near: float = 0.8, far: float = 60.0) -> np.ndarray:
        """The ground between two distances from the road's middle, in half widths, from depth near to far."""
        points = [(scene.centre + (offset + side * half) / d, scene.row(d))
                  for side, d in ((left, near), (left, far), (right, far), (right, near))]
        return scene.polygon(np.array(points))

    if rng.random() < 0.6:
        pavement = scene.floor("gravel", mix(rng, (0.62, 0.6, 0.57), (0.55, 0.55, 0.55)), 0.7, 0.4)
        scene.paint(strip(-1.4, 1.4), pavement, GROUND)
    asphalt = scene.floor("gravel", mix(rng, (0.3, 0.3, 0.32), (0.42, 0.42, 0.43)), 1.8, 0.35)
    scene.paint(strip(-1, 1), asphalt, ROAD)
    white = mix(rng, (0.8, 0.8, 0.78), (0.85, 0.75, 0.4)) * scene.light
    if rng.random() < 0.7:
        depth = rng.uniform(0.8, 1.2)
        while depth < 20:
            scene.paint(strip(-0.03, 0.03, depth, depth * 1.22), white, ROAD)
            depth *= 1.6
    for side in (-0.93, 0.93):
        if rng.random() < 0.5:
            scene.paint(strip(side - 0.025, side + 0.025), white, ROAD)


def draw_building(scene: Scene, depth: float) -> None:
    """A front, a side that recedes, windows and a roof."""
    rng = scene.rng
    base, scale = scene.row(depth), scene.width / depth
    w, h = rng.uniform(0.5, 1.3) * scale, rng.uniform(0.5, 1.4) * scale
    side = float(rng.choice((-1, 1)))
    inner = scene.centre + side * rng.uniform(0.45, 1.3) * scale  # the edge nearer to the vanishing point
    outer = inner + side * w
    wall = str(rng.choice(("brick", "plain", "plain")))
    colour = mix(rng, (0.6, 0.32, 0.24), (0.75, 0.7, 0.6), (0.8, 0.76, 0.7), (0.5, 0.48, 0.47), (0.7, 0.55, 0.4))
    shade = 1.0 if scene.sun * side < 0 else 0.72
    front = np.array([(inner, base), (inner, base - h), (outer, base - h), (outer, base)])
    face = scene.surface(wall, colour, max(0.25, 2.2 / depth))
    if rng.random() < 0.8:  # the side wall, towards the vanishing point
        t = rng.uniform(0.15, 0.35)
        far = front[:2] + t * (np.array([scene.centre, scene.horizon]) - front[:2])
        scene.paint(scene.polygon(np.array([front[0], front[1], far[1], far[0]])), face * shade * 0.8, BUILDING)
    scene.paint(scene.polygon(front), face * shade, BUILDING)
    if rng.random() < 0.55:  # a gable
        top = np.array([(inner, base - h), ((inner + outer) / 2, base - h - rng.uniform(0.2, 0.5) * w),
                        (outer, base - h)])
        scene.paint(scene.polygon(top), scene.surface("brick", mix(rng, (0.45, 0.2, 0.15), (0.25, 0.25, 0.28)), 0.6)
                    * shade, BUILDING)
    glass = mix(rng, (0.12, 0.15, 0.2), (0.5, 0.62, 0.72)) * scene.light
    columns, rows = int(rng.integers(2, 6)), max(1, round(h / w * rng.uniform(2, 4)))
    for i in range(columns):
        for j in range(rows):
            x = inner + (outer - inner) * (i + np.array([0.28, 0.72])) / columns
            y = base - h + h * (j + np.array([0.25, 0.72])) / rows
            corners = np.array([(x[0], y[0]), (x[1], y[0]), (x[1], y[1]), (x[0], y[1])])
            scene.paint(scene.polygon(corners), glass * rng.uniform(0.8, 1.2), BUILDING)


def draw_tree(scene: Scene, depth: float) -> None:
    """A trunk and a ragged crown, or a bush without the trunk."""
    rng = scene.rng
    base, scale = scene.row(depth), scene.width / depth
    x = scene.centre + float(rng.choice((-1, 1))) * rng.uniform(0.3, 1.6) * scale
    bush = rng.random() < 0.35
    h = (rng.uniform(0.1, 0.25) if bush else rng.uniform(0.5, 1.2)) * scale
    w = h * (rng.uniform(0.9, 1.8) if bush else rng.uniform(0.45, 0.85))
    if not bush:
        t = 0.03 * scale * rng.uniform(0.7, 1.5)
        trunk = np.array([(x - t, base), (x - 0.6 * t, base - 0.6 * h), (x + 0.6 * t, base - 0.6 * h), (x + t, base)])
        scene.paint(scene.polygon(trunk), scene.surface("gravel", mix(rng, (0.3, 0.22, 0.15), (0.4, 0.35, 0.3)), 0.5),
                    VEGETATION)
    y = base - 0.5 * h if bush else base - 0.68 * h
    crown_h = 0.55 * h if bush else 0.4 * h
    rows, columns = np.ogrid[:scene.height, :scene.width]
    distance = ((columns - x) / (0.5 * w)) ** 2 + ((rows - y) / crown_h) ** 2
    ragged = distance + 1.3 * (fractal(rng, scene.labels.shape, 6, 8) - 0.5) < 1
    if bush:
        ragged &= rows < base
    leaf = mix(rng, (0.16, 0.3, 0.09), (0.3, 0.42, 0.14), (0.45, 0.38, 0.12))
    lit = 1 + 0.35 * np.clip((columns - x) / w * scene.sun - (rows - y) / crown_h * 0.6, -1, 1)
    scene.paint(ragged, scene.surface("grass", leaf, max(0.4, 2.5 / depth), 1.3) * lit[..., None].astype(np.float32),
                VEGETATION)


def draw_vehicle(scene: Scene, depth: float) -> None:
    """A car or van from the side or from behind, with its shadow."""
    rng = scene.rng
    base, scale = scene.row(depth), scene.width / depth
    x = scene.centre + rng.uniform(-0.75, 0.75) * scale
    colour = mix(rng, (0.75, 0.1, 0.1), (0.1, 0.2, 0.55), (0.85, 0.85, 0.85), (0.1, 0.1, 0.11), (0.9, 0.75, 0.15),
                 (0.5, 0.52, 0.55)) * scene.light
    van, from_behind = rng.random() < 0.25, rng.random() < 0.45
    length = (0.22 if from_behind else 0.42) * scale * rng.uniform(0.9, 1.15)
    height = (0.26 if van else 0.17) * scale * rng.uniform(0.9, 1.1)
    shadow = np.zeros(scene.labels.shape, np.float32)
    axes = round(0.56 * length), max(1, round(0.1 * height))
    cv2.ellipse(shadow, (round(x), round(base)), axes, 0, 0, 360, 1.0, -1)
    shadow = cv2.GaussianBlur(shadow, (0, 0), max(1.0, 0.02 * scale))
    scene.paint(0.7 * shadow, np.zeros(3), None)  # a shadow is the ground that it falls on

    def at(*points: tuple[float, float]) -> np.ndarray:
        """Points in parts of length (from the middle) and height (from below)."""
        flip = -1 if not from_behind and mirrored else 1
        return np.array([(x + flip * u * length, base - v * height) for u, v in points])

    mirrored = rng.random() < 0.5
    glass = mix(rng, (0.1, 0.12, 0.15), (0.35, 0.42, 0.48)) * scene.light
    if from_behind:
        body = at((-0.48, 0.12), (-0.5, 0.5), (-0.42, 0.62), (-0.36, 1.0), (0.36, 1.0), (0.42, 0.62), (0.5, 0.5),
                  (0.48, 0.12))
        panes = [at((-0.33, 0.62), (-0.29, 0.93), (0.29, 0.93), (0.33, 0.62))]
        wheels = [(-0.4, 0.1), (0.4, 0.1)]
        lights = [at((-0.47, 0.4), (-0.47, 0.55), (-0.36, 0.55), (-0.36, 0.4)),
                  at((0.36, 0.4), (0.36, 0.55), (0.47, 0.55), (0.47, 0.4))]
    elif van:
        body = at((-0.5, 0.12), (-0.5, 0.95), (-0.45, 1.0), (0.3, 1.0), (0.42, 0.6), (0.5, 0.5), (0.5, 0.12))
        panes = [at((0.12, 0.6), (0.12, 0.9), (0.28, 0.9), (0.37, 0.6))]
        wheels, lights = [(-0.3, 0.13), (0.32, 0.13)], []
    else:
        body = at((-0.5, 0.2), (-0.5, 0.5), (-0.42, 0.58), (-0.28, 0.62), (-0.16, 1.0), (0.16, 1.0), (0.3, 0.62),
                  (0.47, 0.52), (0.5, 0.35), (0.49, 0.18))
        panes = [at((-0.23, 0.62), (-0.13, 0.92), (-0.01, 0.92), (-0.01, 0.62)),
                 at((0.03, 0.62), (0.03, 0.92), (0.14, 0.92), (0.25, 0.62))]
        wheels, lights = [(-0.31, 0.15), (0.31, 0.15)], []
    rows = np.arange(scene.height, dtype=np.float32)[:, None]
    gloss = np.clip(0.75 + 0.5 * (base - rows) / height, 0.6, 1.25)[..., None]  # sky above, road below
    scene.paint(scene.polygon(body), np.broadcast_to(colour * gloss, scene.picture.shape), VEHICLE)
    for pane in panes:
        scene.paint(scene.polygon(pane), glass, VEHICLE)
    for light in lights:
        scene.paint(scene.polygon(light), (0.7, 0.08, 0.06), VEHICLE)
    for u, v in wheels:
        wheel = np.zeros(scene.labels.shape, np.uint8)
        centre = tuple(int(n) for n in np.rint(at((u, v))[0]))
        radius = max(1, round((0.13 if from_behind else 0.18) * height))
        axes = (max(1, radius // 2), radius) if from_behind else (radius, radius)
        cv2.ellipse(wheel, centre, axes, 0, 0, 360, 1, -1)
        scene.paint(wheel.view(bool), (0.05, 0.05, 0.05), VEHICLE)
        if not from_behind:
            hub = np.zeros_like(wheel)
            cv2.circle(hub, centre, max(1, radius // 2), 1, -1)
            scene.paint(hub.view(bool), (0.55, 0.55, 0.57), VEHICLE)


def draw_pole(scene: Scene, depth: float) -> None:
    """A lamp post or a sign; it has no class of its own and is left without label."""
    rng = scene.rng
    base, scale = scene.row(depth), scene.width / depth
    x = scene.centre + float(rng.choice((-1, 1))) * rng.uniform(0.4, 0.9) * scale
    t, h = 0.012 * scale, rng.uniform(0.4, 0.9) * scale
    colour = mix(rng, (0.35, 0.36, 0.38), (0.6, 0.6, 0.6)) * scene.light
    scene.paint(scene.polygon(np.array([(x - t, base), (x - t, base - h), (x + t, base - h), (x + t, base)])), colour,
                IGNORE)
    if rng.random() < 0.5:
        sign = np.zeros(scene.labels.shape, np.uint8)
        cv2.circle(sign, (round(x), round(base - h)), max(2, round(0.06 * scale)), 1, -1)
        scene.paint(sign.view(bool), mix(rng, (0.8, 0.1, 0.1), (0.1, 0.3, 0.7), (0.9, 0.8, 0.2)), IGNORE)


def render(rng: np.random.Generator, textures: dict[str, np.ndarray], height: int,
           width: int) -> tuple[np.ndarray, np.ndarray]:
    """A scene: picture uint8 RGB (height, width, 3), and the index of each pixel's class or 255, uint8."""
    scene = Scene(rng, textures, height, width)
    scene.horizon = rng.uniform(0.34, 0.55) * scene.height
    scene.centre = rng.uniform(0.3, 0.7) * scene.width
    scene.sun = float(rng.uniform(-1, 1))
    scene.light = rng.uniform(0.75, 1.1) * (1 + 0.08 * rng.uniform(-1, 1) * np.array([1, 0, -1]))
    draw_sky(scene)
    draw_ground(scene)
    things = [(draw_building, rng.uniform(1.5, 7)) for _ in range(rng.integers(1, 6))]
    things += [(draw_tree, rng.uniform(1.3, 8)) for _ in range(rng.integers(1, 7))]
    things += [(draw_vehicle, rng.uniform(1.2, 4.5)) for _ in range(rng.integers(0, 5))]
    things += [(draw_pole, rng.uniform(1.2, 4)) for _ in range(rng.integers(0, 3))]
    for draw, depth in sorted(things, key=lambda thing: -thing[1]):
        haze = 0.05 * np.log(depth) * rng.uniform(0.3, 1)
        draw(scene, depth)
        scene.picture += haze * (0.8 - scene.picture) * (scene.labels != SKY)[..., None] * 0.3
    return finish(scene, height, width)


def finish(scene: Scene, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Shrinks a scene and takes its photograph: exposure, vignette, blur and noise."""
    rng = scene.rng
    picture = cv2.resize(scene.picture, (width, height), interpolation=cv2.INTER_AREA)
    y, x = np.mgrid[-1:1:height * 1j, -1:1:width * 1j]
    picture *= (1 - rng.uniform(0, 0.2) * (x ** 2 + y ** 2) / 2)[..., None]
    picture = np.clip(picture * rng.uniform(0.85, 1.15), 0, 1) ** rng.uniform(0.85, 1.15)
    picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.3, 0.8))
    picture += rng.normal(0, rng.uniform(0.005, 0.02), picture.shape)
    labels = scene.labels[SUPER // 2::SUPER, SUPER // 2::SUPER]
    return np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8), np.ascontiguousarray(labels)
