"""What a bundle is made from: a model by name or config with its weights, and how to build it again."""
from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dense.backends.bundle import Bundle, sha256
from dense.errors import ConfigError, MissingDependencyError, WeightsError

if TYPE_CHECKING:
    from torch import nn

UNKNOWN = "unknown"


@dataclass(frozen=True)
class Source:
    """A model's name or config, and its weights' file (None: initial values).

    Raises ConfigError for a name without weights, unless ``untrained``.
    """

    model: str
    weights: str | None = None
    untrained: bool = False

    def __post_init__(self):
        if self.weights is None and "@" not in self.model and not self.untrained:
            from dense.models.names import find_name
            from dense.weights.store import list_found

            if _name_or_config(self.model) == self.model and not self.model.endswith(".py"):
                find_name(self.model)  # an unknown name is the first thing to say
            raise ConfigError(f"{self.model!r} has no weights, the bundle's output would mean nothing. Remedy: "
                              f"-w FILE, a name with weights ({', '.join(list_found())}), or --untrained")

    @property
    def weights_path(self) -> Path | None:
        """The weights' file, also of a name."""
        name = self.weights if self.weights is not None or "@" not in self.model else self.model
        if name is None:
            return None
        from dense.weights.store import locate

        return locate(name)

    @property
    def default_name(self) -> str:
        """A name of letters, digits and ``.-_``: model and weights."""
        parts = [Path(self.model).stem if self.model.endswith(".py") else self.model]
        if self.weights and "@" in self.weights and not Path(self.weights).exists():
            parts.append(self.weights.partition("@")[2])
        elif self.weights:
            path = Path(self.weights)
            parts += [path.parent.name or path.stem] if path.stem in ("best", "last") else [path.stem]
        if not self.weights and "@" not in self.model:
            parts.append("untrained")
        return re.sub(r"[^A-Za-z0-9._]+", "-", "-".join(dict.fromkeys(parts))).strip("-.")

    def build(self) -> nn.Module:
        """The model in eval mode on the CPU; ConfigError if there is none of the name."""
        try:
            from dense.models.build import build_model
        except ImportError as error:
            raise MissingDependencyError(f"building {self.model!r} needs PyTorch and mmengine, which cannot be "
                                         f"imported ({error}). Remedy: pip install dense") from None
        return build_model(_name_or_config(self.model), weights=self.weights)

    def record(self) -> dict:
        """What a bundle keeps of this."""
        path = self.weights_path
        return {"model": self.model, "weights": self.weights, "sha256": sha256(path) if path else None}

    def facts(self) -> dict:
        """Licences and metrics, from what is stored with the weights or on the card beside them."""
        path = self.weights_path
        meta = {}
        if path is not None and path.suffix.lower() != ".onnx":
            from dense.weights.files import read_weights

            meta = read_weights(path).meta
        licences = {"code": "Apache-2.0", "weights": UNKNOWN, "data": UNKNOWN, **(meta.get("licences") or {})}
        card = path.with_suffix(".md") if path else None
        if card is not None and card.is_file():
            rows = dict(re.findall(r"^\| *([\w ]+?) *\| *(.+?) *\|$", card.read_text(encoding="utf-8"), re.MULTILINE))
            if "licence" in rows:
                licences["weights"] = rows["licence"].split(";")[0]
            if "data" in rows:
                licences["data"] = f"see {rows['data'].split(',')[0].replace('`', '')}"
        if path is None:
            licences["weights"] = licences["data"] = "none: untrained"
        return {"licences": licences, "metrics": dict(meta.get("metrics") or {})}


def _name_or_config(model: str) -> str:
    """A model's name as it is; the name of a shipped config as its file."""
    from dense.config import find_config
    from dense.models.names import list_models

    if "@" in model or model.endswith(".py") or model in list_models():
        return model
    try:
        return str(find_config(model))
    except ConfigError:
        return model  # the error about the name is the better one


def rebuild(bundle: Bundle, weights: str | None = None) -> nn.Module:
    """The model that a bundle was exported from, with the bundle's task.

    weights: where the file is now. Raises ConfigError or WeightsError if it is not to be had, or is not the one.
    """
    record = bundle.source
    if not record.get("model"):
        raise ConfigError(f"{bundle.folder}: does not say which model it was made from")
    source = Source(str(record["model"]), weights or record.get("weights"), untrained=True)
    path = source.weights_path
    if path is None:
        raise ConfigError(f"{bundle.folder}: was exported untrained, its weights were not kept")
    if not path.is_file():
        raise WeightsError(f"{path}: the weights of the export are not there. Remedy: name them with -w FILE")
    if sha256(path) != record.get("sha256"):
        raise WeightsError(f"{path}: not the weights that were exported (another sha256). "
                           "Remedy: name them with -w FILE")
    model = source.build()
    model.task = bundle.task
    return model
