"""The order of draws is a pure function of the seed and the number of draws, for any number of processes."""
from itertools import islice

import pytest

from dense.datasets import DrawSampler

SIZE = 7


def sampler(rank: int = 0, world: int = 1, **keywords) -> DrawSampler:
    made = DrawSampler(range(SIZE), **{"seed": 3, **keywords})
    made.rank, made.world = rank, world
    return made


def take(source, count: int, first: int = 0) -> list[int]:
    return list(islice(source, first, first + count))


def test_each_epoch_is_a_permutation_of_its_own():
    draws = take(sampler(), 4 * SIZE)
    epochs = [draws[i * SIZE:(i + 1) * SIZE] for i in range(4)]
    for number, epoch in enumerate(epochs):
        assert sorted(epoch) == list(range(number * SIZE, (number + 1) * SIZE))
    assert len({tuple(draw % SIZE for draw in epoch) for epoch in epochs}) == 4
    assert draws == take(sampler(), 4 * SIZE) != take(sampler(seed=4), 4 * SIZE)


def test_without_shuffling():
    assert take(sampler(shuffle=False), 3 * SIZE) == list(range(3 * SIZE))


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("count", [0, 1, 6, 7, 20])
def test_skip_drops_draws(world, count):
    for rank in range(world):
        skipped = sampler(rank, world)
        skipped.skip(count)
        assert take(skipped, 15) == take(sampler(rank, world), 15, count)
        skipped.skip(2)  # adds up
        assert take(skipped, 5) == take(sampler(rank, world), 5, count + 2)


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("batch", [1, 2])
def test_ranks_together_are_one_process(world, batch):
    together = take(sampler(), 6 * batch * world)
    ranks = [take(sampler(rank, world), 6 * batch) for rank in range(world)]
    for step in range(6):
        union = [draw for rank in ranks for draw in rank[step * batch:(step + 1) * batch]]
        assert sorted(union) == sorted(together[step * batch * world:(step + 1) * batch * world])


def test_iterating_again_begins_anew():
    made = sampler()
    assert take(made, 9) == take(made, 9) and len(made) == SIZE
