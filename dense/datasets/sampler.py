"""Which sample comes when: a pure function of (seed, number of draws), so that a resumed run goes on."""
from __future__ import annotations

from collections.abc import Iterator, Sized

import numpy as np
from mmengine.dist import get_dist_info
from torch.utils.data import Sampler

from dense.registry import DATA_SAMPLERS


@DATA_SAMPLERS.register_module()
class DrawSampler(Sampler[int]):
    """Endless draws ``epoch * len(dataset) + index``; every epoch is its own permutation.

    Rank r of W takes draws r, r + W, ...: the batches of all ranks together are those of one process at
    the same global batch. Data sets decode a draw with ``divmod(draw, len(self))``.
    """

    def __init__(self, dataset: Sized, seed: int | None = None, shuffle: bool = True):
        self.size, self.seed, self.shuffle = len(dataset), seed or 0, shuffle
        self.rank, self.world = get_dist_info()
        self.start = 0

    def skip(self, num_samples: int) -> None:
        """Begin after ``num_samples`` draws of this rank (those a resumed run has already used)."""
        self.start += num_samples

    def __iter__(self) -> Iterator[int]:
        draw, epoch, order = self.start * self.world + self.rank, -1, None
        while True:
            if draw // self.size != epoch:
                epoch = draw // self.size
                rng = np.random.default_rng([self.seed, epoch])
                order = rng.permutation(self.size) if self.shuffle else np.arange(self.size)
            yield epoch * self.size + int(order[draw % self.size])
            draw += self.world

    def __len__(self) -> int:
        return self.size
