"""One tester for all models: a system's test class inherits it and says how its data look."""
from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import pytest
import torch
from reference import load_description, refill
from torch import Tensor, nn

from dense import build_model, list_models


class ModelTester(ABC):
    """Inherit as ``class TestX(ModelTester)``; set the attributes, write the abstract methods.

    name: what ``build_model`` is given; overrides: make it small and quick.
    size: the usual (height, width[, ...]); odd_sizes: that are no multiples of the network's strides.
    published: stem of the description of the published weights in tests/data, for ``published_overrides``.
    steps, learning_rate: of the training on one batch; the loss must fall below ``falls_to`` times the first.
    batch_tolerance: of the outputs of one input by itself and in a batch, absolute, beside 1e-4 relative.
    onnx_options: of ``torch.onnx.export``; onnx_tolerance: relative to the largest value of each output.
    """

    name: str
    overrides: dict = {}  # noqa: RUF012 (replaced, never changed)
    size: tuple[int, ...] = (64, 64)
    odd_sizes: tuple[tuple[int, ...], ...] = ((97, 131), (33, 50))
    published: str | None = None
    published_overrides: dict = {}  # noqa: RUF012
    steps, learning_rate, falls_to = 6, 1e-2, 0.9
    batch_tolerance = 1e-5
    onnx_options: dict = {"dynamo": False, "opset_version": 17}  # noqa: RUF012
    onnx_tolerance = 1e-4

    @abstractmethod
    def make_data(self, size: tuple[int, ...], count: int = 2) -> dict:
        """A batch as a data loader gives it (``inputs``, ``data_samples`` with the truth), the same each time."""

    @abstractmethod
    def check_outputs(self, outputs, inputs: Tensor) -> None:
        """Assert number, shapes and ranges of what mode 'tensor' gives for preprocessed inputs."""

    @abstractmethod
    def check_predictions(self, predictions, data: dict) -> None:
        """Assert number, shapes, types and ranges of what mode 'predict' gives for ``make_data``."""

    def build(self, **extra) -> nn.Module:
        torch.manual_seed(0)
        return build_model(self.name, **{**self.overrides, **extra})

    def make_inputs(self, model: nn.Module, size: tuple[int, ...], count: int = 2) -> Tensor:
        return model.data_preprocessor(self.make_data(size, count), training=False)["inputs"]

    def test_is_listed_and_builds_by_name_in_eval_mode(self):
        assert list_models()[self.name]
        model = self.build()
        assert not any(module.training for module in model.modules())

    def test_tensor_mode_gives_what_it_documents(self):
        model = self.build()
        inputs = self.make_inputs(model, self.size)
        with torch.no_grad():
            self.check_outputs(model(inputs, mode="tensor"), inputs)

    def test_odd_sizes_work(self):
        model = self.build()
        for size in self.odd_sizes:
            inputs = self.make_inputs(model, size, count=1)
            with torch.no_grad():
                self.check_outputs(model(inputs, mode="tensor"), inputs)
                self.check_predictions(model.test_step(self.make_data(size, 1)), self.make_data(size, 1))

    def test_pictures_of_a_batch_do_not_change_each_other(self):
        model = self.build()
        refill(model.network)
        inputs = self.make_inputs(model, self.size)
        with torch.no_grad():
            together, alone = flatten(model(inputs)), flatten(model(inputs[1:]))
        for a, b in zip(together, alone, strict=True):
            torch.testing.assert_close(a[1:], b, rtol=1e-4, atol=self.batch_tolerance)

    def test_predict_gives_one_result_a_sample(self):
        model = self.build()
        self.check_predictions(model.test_step(self.make_data(self.size)), self.make_data(self.size))

    def test_unknown_mode_is_an_error(self):
        model = self.build()
        with pytest.raises(ValueError, match="sideways"):
            model(self.make_inputs(model, self.size), mode="sideways")

    def test_loss_decreases_on_one_batch(self):
        model = self.build().train()
        data = model.data_preprocessor(self.make_data(self.size), training=True)
        optimizer = torch.optim.Adam(model.parameters(), self.learning_rate)
        losses = []
        for _ in range(self.steps):
            loss, parts = model.parse_losses(model(**data, mode="loss"))
            assert all(torch.isfinite(value).all() for value in parts.values()), parts
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < self.falls_to * losses[0], losses

    def test_every_parameter_gets_a_gradient(self):
        model = self.build().train()
        data = model.data_preprocessor(self.make_data(self.size), training=True)
        model.parse_losses(model(**data, mode="loss"))[0].backward()
        assert [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None] == []

    def test_keys_shapes_and_count_are_the_published_ones(self):
        if self.published is None:
            pytest.skip("no description of published weights")
        described = load_description(self.published)
        with torch.device("meta"):
            network = build_model(self.name, device="meta", **self.published_overrides).network
        assert {k: list(v.shape) for k, v in network.state_dict().items()} == described["state_dict"]
        assert sum(p.numel() for p in network.parameters()) == described["parameters"]

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    def test_onnx_runtime_gives_the_same_outputs(self, tmp_path):
        pytest.importorskip("onnx", reason="ONNX export needs the extra 'deploy' (onnx)")
        runtime = pytest.importorskip("onnxruntime", reason="the comparison needs the extra 'deploy' (onnxruntime)")
        model = self.build()
        refill(model.network)
        inputs = self.make_inputs(model, self.size, count=1)
        with torch.no_grad():
            expected = [t.numpy() for t in flatten(model(inputs))]
        torch.onnx.export(model, (inputs,), str(tmp_path / "model.onnx"), **self.onnx_options)
        options = runtime.SessionOptions()
        options.intra_op_num_threads = 1
        session = runtime.InferenceSession(tmp_path / "model.onnx", options, providers=["CPUExecutionProvider"])
        found = session.run(None, {session.get_inputs()[0].name: inputs.numpy()})
        assert len(found) == len(expected)
        for got, want in zip(found, expected, strict=True):
            assert got.shape == want.shape
            assert np.abs(got - want).max() <= self.onnx_tolerance * max(1.0, np.abs(want).max())


def flatten(outputs) -> list[Tensor]:
    """The tensors of nested lists, tuples and dicts, in order."""
    if isinstance(outputs, Tensor):
        return [outputs]
    values = outputs.values() if isinstance(outputs, dict) else outputs
    return [tensor for value in values for tensor in flatten(value)]
