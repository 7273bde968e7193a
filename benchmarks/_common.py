"""What the benchmarks share: the machine in words, paired ratios, tables, JSON."""
from __future__ import annotations

import os
import platform
import resource
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # works without installing the package


def machine() -> dict:
    """Processor, cores that may be used, threads, memory, load, versions."""
    import cv2

    try:
        import torch
    except ImportError:  # an environment that was made for a peer
        torch = None

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    facts = {"processor": _processor(), "cores": cores,
             "threads": torch.get_num_threads() if torch else cv2.getNumThreads(),
             "system": platform.platform(terse=True), "python": platform.python_version(),
             **({"torch": torch.__version__} if torch else {}),
             "opencv": cv2.__version__, "numpy": np.__version__}
    if hasattr(os, "getloadavg"):
        facts["load before"] = round(os.getloadavg()[0], 2)
    if hasattr(os, "sysconf"):
        facts["memory GiB"] = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    if torch and torch.cuda.is_available():
        facts["gpu"] = torch.cuda.get_device_name()
    return facts


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def peak_memory() -> int:
    """Bytes of resident memory at the peak of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def paired(ours: Sequence[float], other: Sequence[float]) -> dict:
    """Medians in seconds, and the median and a 95 % interval (bootstrap) of the ratios ours / other, pair by pair."""
    ratios = np.asarray(ours) / np.asarray(other)
    draws = np.random.default_rng(0).choice(ratios, (2000, len(ratios)))
    low, high = np.percentile(np.median(draws, axis=1), (2.5, 97.5))
    return {"ours": statistics.median(ours), "other": statistics.median(other), "pairs": len(ratios),
            "ratio": float(np.median(ratios)), "low": float(low), "high": float(high)}


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table, columns aligned."""
    cells = [[str(c) for c in row] for row in (header, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |" for row in cells]
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return "\n".join(lines)


def report(title: str, text: str, values: dict, json_path: str | None) -> None:
    """Print the result with the machine it was taken on; with a path also as JSON."""
    facts = machine()
    print(f"# {title}\n\n{text}\n\n" + ", ".join(f"{k} {v}" for k, v in facts.items()))
    print(f"command: python {' '.join([os.path.relpath(sys.argv[0], ROOT), *sys.argv[1:]])}")
    if json_path:
        from dense.io import write_json

        write_json(json_path, {"title": title, "machine": facts, "arguments": sys.argv[1:], **values})
        print(f"written: {json_path}")
