"""The pipeline: stages overlap, nothing piles up, order is kept, and an end in the middle leaves whole files."""
import errno
import threading
import time
from dataclasses import dataclass

import numpy as np
import pytest
from toy_pictures import disc, write_pictures

from dense.errors import DenseError
from dense.inference.network import Network
from dense.inference.pipeline import Pipeline, in_order
from dense.inference.results import RESULTS, Result
from dense.inference.sources import IDLE, Item, find_source
from dense.io import Picture
from dense.tasks import CutoutTask, Task
from dense.tasks.plan import Plan, Window

TASK = CutoutTask(32)


class Session:
    device = "cpu"

    def __call__(self, batch):
        return batch[:, :1] / 255

    def describe(self):
        return "session"


def items(count, load=lambda i: Picture(disc(40, 50), str(i)), pixels=2000):
    return [Item(str(i), None, lambda i=i: load(i), None, pixels) for i in range(count)]


def names(works):
    return [w.item.name for w in works if w is not IDLE]


def test_order_is_kept_however_long_each_takes():
    rng = np.random.default_rng(0)
    waits = rng.uniform(0, 0.01, (2, 30))

    def load(i):
        time.sleep(waits[0, i])
        return Picture(disc(40, 50), str(i))

    def then(result, item):
        time.sleep(waits[1, int(item.name)])
        return int(item.name)

    pipeline = Pipeline(TASK, Network(Session(), 3), jobs=4, then=then)
    assert [w.outcome for w in pipeline.run(items(30, load))] == list(range(30))


def test_decoding_network_and_encoding_are_under_way_at_the_same_time():
    inside = {"load": threading.Event(), "network": threading.Event(), "then": threading.Event()}
    met = []

    def meet(me):
        """Waits in one stage until the other two are busy: would never end if they came one after another."""
        inside[me].set()
        met.append(all(event.wait(20) for event in inside.values()))

    class Waiting(Session):
        calls = 0

        def __call__(self, batch):
            Waiting.calls += 1
            if Waiting.calls == 6:
                meet("network")
            return super().__call__(batch)

    def load(i):
        if i == 7:
            meet("load")
        return Picture(disc(40, 50), str(i))

    def then(result, item):
        if item.name == "3":
            meet("then")

    assert len(names(Pipeline(TASK, Network(Waiting(), 1), jobs=3, then=then).run(items(12, load)))) == 12
    assert met == [True] * 3


def test_few_pictures_are_in_memory_at_once():
    alive, most, lock = [0], [0], threading.Lock()

    def load(i):
        with lock:
            alive[0] += 1
            most[0] = max(most[0], alive[0])
        return Picture(disc(40, 50), str(i))

    def then(result, item):
        with lock:
            alive[0] -= 1

    def run(memory):
        most[0] = 0
        works = Pipeline(TASK, Network(Session(), 2), jobs=2, memory=memory, then=then).run(items(60, load))
        assert len(names(works)) == 60
        return most[0]

    assert run(1 << 30) <= 14
    assert run(24 * 2000 * 3) <= 3
    assert run(1) == 1  # above the limit alone: still done, one at a time


def test_a_failing_item_is_told_and_the_others_are_done():
    def load(i):
        if i % 3 == 0:
            raise DenseError(f"{i}: broken")
        return Picture(disc(40, 50), str(i))

    works = list(Pipeline(TASK, Network(Session(), 2), then=lambda result, item: item.name).run(items(10, load)))
    assert [w.item.name for w in works] == [str(i) for i in range(10)]
    assert [w.failure.reason for w in works if w.failure] == ["broken"] * 4
    assert [w.outcome for w in works if not w.failure] == ["1", "2", "4", "5", "7", "8"]


def test_a_picture_that_cannot_be_written_is_told_and_a_full_disk_ends_the_run():
    def refuse(result, item):
        if item.name == "2":
            raise DenseError("2: name too long; shorten it")

    works = list(Pipeline(TASK, Network(Session(), 1), then=refuse).run(items(5)))
    assert [w.item.name for w in works if w.failure] == ["2"]

    def full(result, item):
        raise DenseError("the disk is full") from OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(DenseError, match="the disk is full"):
        list(Pipeline(TASK, Network(Session(), 1), then=full).run(items(5)))


@pytest.mark.parametrize("traced", [True, False])
def test_an_unexpected_error_fails_its_picture_and_is_not_hidden(monkeypatch, capsys, traced):
    monkeypatch.setenv("DENSE_TRACEBACK", "1" if traced else "")

    def broken(result, item):
        if item.name == "1":
            raise ZeroDivisionError("division by zero")
        return item.name

    works = list(Pipeline(TASK, Network(Session(), 1), then=broken).run(items(3)))
    assert [w.outcome for w in works] == ["0", None, "2"]
    assert works[1].failure.reason.startswith("ZeroDivisionError: division by zero (unexpected, please report it")
    assert ("in broken" in capsys.readouterr().err) == traced


def test_closing_lets_running_writes_finish_and_begins_no_other():
    begun, finished = [], []

    def then(result, item):
        begun.append(item.name)
        time.sleep(0.05)
        finished.append(item.name)

    works = Pipeline(TASK, Network(Session(), 1), jobs=2, then=then).run(items(50))
    next(works)
    works.close()
    assert sorted(begun) == sorted(finished) and 1 <= len(begun) < 20
    assert not [t for t in threading.enumerate() if t.name.startswith("dense") and t.is_alive()]


def test_idle_sources_do_not_hold_back_what_is_there():
    def source():
        yield from items(3)
        yield IDLE
        assert done == ["0", "1", "2"]  # with a batch of 8 and nothing more to come
        yield from items(1)

    done = []
    for work in Pipeline(TASK, Network(Session(), 8), jobs=2).run(source()):
        done.append(work.item.name)
    assert done == ["0", "1", "2", "0"]


def test_in_order_passes_idle_on_after_everything_before_it():
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(2) as pool:
        out = list(in_order(lambda x: 2 * x, [1, 2, IDLE, 3], pool, 5))
    assert out == [2, 4, IDLE, 6]


def test_files_of_a_folder_flow_through(tmp_path):
    paths = write_pictures(tmp_path, 5)
    works = list(Pipeline(TASK, Network(Session(), 2)).run(find_source(tmp_path).items))
    assert [w.outcome.source for w in works] == [str(p) for p in paths]


class TwoOutputs(Session):
    """Gives two outputs by name, as a detector does; counts the shapes that it was fed."""

    def __init__(self):
        self.fed = []

    def __call__(self, batch):
        self.fed.append(batch.shape)
        return {"mean": batch.mean((1, 2, 3)), "label": batch.max((1, 2, 3)).astype(np.int64)}


class WindowsTask(Task):
    """No overview: the two halves of a picture, at sizes of their own; the answer is what the network said of them."""

    kind, modes, size = "windows of a test", ("halves",), (32, 32)

    def plan(self, shape, mode):
        half = shape[1] // 2
        return Plan(shape, self.size, None, (Window(0, 0, shape[0], half), Window(0, half, shape[0], shape[1] - half)))

    def tensor(self, image, plan=None, window=None):
        return np.ascontiguousarray(image[window.slices].transpose(2, 0, 1), np.float32)

    def finish(self, image, plan, overview, run_all):
        assert overview is None
        return np.array([[o["mean"], o["label"]] for o in run_all(self.tensor(image, plan, w) for w in plan.tiles)])


@dataclass(frozen=True, kw_only=True)
class WindowsResult(Result):
    means: np.ndarray

    @classmethod
    def of(cls, task, picture, answer, source, seconds):
        return cls(picture.pixels, source, seconds, means=answer)

    def save(self, path):
        return path

    def panels(self):
        return [self.image]


def test_a_task_of_another_kind_plugs_in(monkeypatch):
    monkeypatch.setitem(RESULTS, WindowsTask.kind, WindowsResult)
    session, image = TwoOutputs(), disc(40, 51)
    image[:, 30:] = 7
    pictures = [Item(str(i), None, lambda: Picture(image, "x"), None, 2000) for i in range(3)]
    works = list(Pipeline(WindowsTask(), Network(session, 4)).run(pictures))
    direct = WindowsTask().run(image, session)
    assert len(works) == 3 and direct[1][0] > 0
    for work in works:
        assert isinstance(work.outcome, WindowsResult)
        np.testing.assert_array_equal(work.outcome.means, direct)
    assert set(session.fed) == {(1, 3, 40, 25), (1, 3, 40, 26)}  # one size at a time
