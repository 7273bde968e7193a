"""Where results come from, as plain values: the network, its weights and their hash, what it ran on."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dense.backends.bundle import sha256

if TYPE_CHECKING:
    from dense.inference.inferencer import Inferencer


def provenance(inferencer: Inferencer) -> dict[str, Any]:
    """Plain values (JSON): model, weights and sha256 (of the file; of a bundle's graph; None where the weights were
    never in a file), backend, device, mode, task, version of dense."""
    from dense import __version__

    session, bundle, path = inferencer.session, inferencer.bundle, inferencer.weights_path
    digest = bundle.files[bundle.model] if bundle else sha256(path) if path else None
    return {"dense": __version__, "model": inferencer.name,
            "weights": {"name": str(bundle.folder if bundle else path.name if path else inferencer.weights),
                        "sha256": digest},
            "backend": f"{session.backend} {session.version}", "device": session.device, "mode": inferencer.mode,
            "task": inferencer.task.to_dict()}
