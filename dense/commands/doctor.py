"""What this installation can do: versions, devices, backends, extras; what is missing, and how to get it.

    dense doctor            a table
    dense doctor --json     the same for programs

Every package is imported in a process of its own: one that is broken is reported, whatever it does. Exit code 1 if
something that dense needs itself is missing or broken.
"""
from __future__ import annotations

from argparse import ArgumentParser, Namespace
from dataclasses import dataclass

HELP = "show versions, devices and backends, and what is missing"


@dataclass(frozen=True)
class Probe:
    """A package: distributions that provide it, the extra that installs it ('' is dense itself), what for, and lines
    of Python that set ``info`` (text) once ``module`` has been imported."""

    module: str
    distributions: tuple[str, ...]
    extra: str
    purpose: str
    code: str = ""


DEVICES = """
info = "CPU, %d threads" % module.get_num_threads()
if module.cuda.is_available():
    info += "".join(", cuda:%d %s (%.0f GiB)" % (i, module.cuda.get_device_name(i),
                    module.cuda.get_device_properties(i).total_memory / 2**30)
                    for i in range(module.cuda.device_count()))
elif module.version.cuda:
    info += ", built for CUDA %s but no usable GPU" % module.version.cuda
if module.backends.mps.is_available():
    info += ", mps"
"""
OPS = """
import importlib.util
info = "compiled ops" if importlib.util.find_spec("mmcv._ext") else "no compiled ops: dense's stand-in serves"
if importlib.util.find_spec("mmcv._ext"):
    import mmcv._ext
"""
PROBES = (
    Probe("torch", ("torch",), "", "training, and models by name", DEVICES),
    Probe("mmengine", ("onedl-mmengine", "mmengine"), "", "training, and models by name"),
    Probe("numpy", ("numpy",), "", "everything"),
    Probe("cv2", ("opencv-python", "opencv-python-headless"), "", "everything"),
    Probe("PIL", ("pillow",), "", "pictures"),
    Probe("safetensors", ("safetensors",), "", "weights"),
    Probe("matplotlib", ("matplotlib",), "", "curves"),
    Probe("rich", ("rich",), "", "progress bars"),
    Probe("onnxruntime", ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino"), "deploy", "backend of bundles",
          "info = ', '.join(p.removesuffix('ExecutionProvider') for p in module.get_available_providers())"),
    Probe("openvino", ("openvino",), "deploy", "backend of bundles, fastest on CPU",
          "info = ', '.join(module.Core().available_devices)"),
    Probe("tensorrt", ("tensorrt", "tensorrt-cu12", "tensorrt-cu13"), "tensorrt", "engines for NVIDIA GPUs"),
    Probe("onnx", ("onnx",), "deploy", "dense export"),
    Probe("onnxscript", ("onnxscript",), "deploy", "dense export"),
    Probe("av", ("av",), "video", "videos as input and output"),
    Probe("rapidocr", ("rapidocr",), "text", "text that is found, to be erased"),
    Probe("mmcv", ("onedl-mmcv", "mmcv"), "seg", "segmentation and detection", OPS),
    Probe("mmseg", ("onedl-mmsegmentation", "mmsegmentation"), "seg", "semantic segmentation"),
    Probe("mmdet", ("onedl-mmdetection", "mmdet"), "det", "detection"),
    Probe("nibabel", ("nibabel",), "medical", "volumes"),
    Probe("monai", ("monai",), "medical", "volumes"),
    Probe("SimpleITK", ("SimpleITK",), "dicom", "DICOM series, .nrrd, .mha"),
    Probe("gradio", ("gradio",), "demo", "the demo"),
)
COMPILED_OPS = ("MAX_JOBS=2 pip install --no-cache-dir --no-build-isolation --no-deps --force-reinstall onedl-mmcv "
                "(minutes; needs a C++ compiler)")
# what the libraries print themselves goes to standard error
SCRIPT = """
import contextlib, importlib, json, sys
with contextlib.redirect_stdout(sys.stderr):
    module = importlib.import_module({module!r})
    info = ""
{code}
print("\\n" + json.dumps({{"version": str(getattr(module, "__version__", "")), "info": info}}))
"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="for programs")


def run(args: Namespace) -> int:
    import json

    report = examine()
    print(json.dumps(report, indent=2) if args.json else as_text(report))
    return 0 if all(p["state"] == "ok" for p in report["packages"] if not p["extra"]) else 1


def examine() -> dict:
    """The report: plain values. Each package has ``state`` 'ok', 'missing' or 'broken'."""
    import os
    import platform
    import sys
    from concurrent.futures import ThreadPoolExecutor

    from dense import __version__

    with ThreadPoolExecutor(2) as pool:
        packages = list(pool.map(examine_package, PROBES))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"dense": __version__, "python": platform.python_version(), "executable": sys.executable,
            "system": platform.platform(terse=True), "cores": cores, "packages": packages, "weights": _weights()}


def examine_package(probe: Probe, timeout: float = 120) -> dict:
    """State, version, information and remedy of one package."""
    import importlib.metadata
    import importlib.util
    import subprocess
    import sys

    values = {"name": probe.module, "extra": probe.extra, "purpose": probe.purpose, "state": "ok", "version": "",
              "info": "", "remedy": ""}
    for name in probe.distributions:
        try:
            values["version"] = importlib.metadata.version(name) or ""
            break
        except Exception:  # no metadata, or damaged: the import tells
            continue
    get = f"pip install 'dense[{probe.extra}]'" if probe.extra else "pip install --force-reinstall dense"
    try:
        found = importlib.util.find_spec(probe.module) is not None
    except (ImportError, ValueError):
        found = False
    if not found:
        return values | {"state": "missing", "remedy": get}
    code = "".join(f"    {line}\n" for line in probe.code.strip().splitlines())
    script = SCRIPT.format(module=probe.module, code=code)
    told = None
    try:
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=timeout,
                              errors="replace", stdin=subprocess.DEVNULL, check=False)
        problem = _problem(done.returncode, done.stderr)
        if done.returncode == 0:
            told = _last_json(done.stdout)
    except (subprocess.TimeoutExpired, OSError) as error:
        problem = f"its import took more than {timeout:.0f} s" if not isinstance(error, OSError) else str(error)
    if told is None:
        name = next(iter(probe.distributions))
        remedy = f"pip install --force-reinstall {name}" if probe.extra != "tensorrt" else "see NVIDIA's install guide"
        return values | {"state": "broken", "info": problem, "remedy": remedy}
    values |= {"version": values["version"] or told["version"], "info": told["info"]}
    if probe.module == "mmcv" and "no compiled" in told["info"]:
        values["remedy"] = f"not needed; to get them: {COMPILED_OPS}"
    return values


def _problem(code: int, stderr: str) -> str:
    import signal

    if code < 0:
        return f"its import crashed the process ({signal.strsignal(-code) or f'signal {-code}'})"
    last = next((line.strip()[:200] for line in reversed(stderr.splitlines()) if line.strip()), "")
    return last or f"its import ended with code {code}"


def _last_json(text: str) -> dict | None:
    import json

    try:
        return json.loads(text.splitlines()[-1])
    except (IndexError, ValueError):
        return None


def _weights() -> list[str]:
    try:
        from dense.weights.store import list_found

        return list(list_found())
    except Exception as error:
        return [f"cannot be listed: {error}"]


def as_text(report: dict) -> str:
    """The report for people."""
    lines = [f"dense {report['dense']}, Python {report['python']} ({report['executable']})",
             f"{report['system']}, {report['cores']} cores", f"weights: {', '.join(report['weights'])}", ""]
    for package in report["packages"]:
        state = package["version"] if package["state"] == "ok" else package["state"]
        about = package["info"] if package["state"] != "missing" else package["purpose"]
        lines.append(f"{package['name']:12} {state:14} {about or package['purpose']}".rstrip())
    remedies: dict[str, list[str]] = {}
    for package in report["packages"]:
        if package["remedy"]:
            remedies.setdefault(package["remedy"], []).append(package["name"])
    if remedies:
        lines += ["", "how to get what is not there:"]
        lines += [f"  {', '.join(names)}: {remedy}" for remedy, names in remedies.items()]
    else:
        lines += ["", "nothing is missing"]
    return "\n".join(lines)
