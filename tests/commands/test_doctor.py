"""``dense doctor`` tells what there is, and survives whatever a package does when it is imported."""
import configparser
import json
import sys
from pathlib import Path

import pytest

from dense.cli import main
from dense.commands import doctor
from dense.commands.doctor import Probe, as_text, examine_package


def probe(tmp_path, monkeypatch, body, **values):
    (tmp_path / "sickpackage.py").write_text(body)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return examine_package(Probe("sickpackage", ("sickpackage",), "video", "tests", **values), timeout=20)


@pytest.mark.parametrize(("body", "words"), [
    ("raise RuntimeError('built for another NumPy')", "RuntimeError: built for another NumPy"),
    ("import os; os.abort()", "crashed the process"), ("import os; os._exit(0)", "ended with code 0"),
    ("import sys; sys.exit(3)", "ended with code 3"), ("import nosuchlibrary", "No module named 'nosuchlibrary'"),
    ("def", "SyntaxError")])
def test_a_broken_package_is_reported(tmp_path, monkeypatch, body, words):
    found = probe(tmp_path, monkeypatch, body)
    assert found["state"] == "broken" and words in found["info"]
    assert found["remedy"] == "pip install --force-reinstall sickpackage"


def test_a_package_that_hangs(tmp_path, monkeypatch):
    (tmp_path / "sickpackage.py").write_text("import time; time.sleep(60)")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = examine_package(Probe("sickpackage", ("sickpackage",), "", "tests"), timeout=1)
    assert found["state"] == "broken" and "more than 1 s" in found["info"]


def test_a_sound_package_that_prints_and_a_probe_that_fails(tmp_path, monkeypatch):
    body = "print('hello'); __version__ = '1.2'"
    found = probe(tmp_path, monkeypatch, body, code="info = 'fine'")
    assert (found["state"], found["version"], found["info"], found["remedy"]) == ("ok", "1.2", "fine", "")
    assert probe(tmp_path, monkeypatch, body, code="info = module.nothing")["state"] == "broken"


def test_a_missing_package_says_how_to_get_it():
    found = examine_package(Probe("nosuchpackage", ("nosuchpackage",), "video", "videos"))
    assert found["state"] == "missing" and found["remedy"] == "pip install 'dense[video]'"


def test_report(monkeypatch, capsys):
    probes = [p for p in doctor.PROBES if p.module in ("numpy", "PIL", "onnxruntime")]
    monkeypatch.setattr(doctor, "PROBES", (*probes, Probe("nosuchpackage", (), "demo", "the demo")))
    assert main(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    by_name = {p["name"]: p for p in report["packages"]}
    import numpy

    assert by_name["numpy"]["version"] == numpy.__version__ and by_name["nosuchpackage"]["state"] == "missing"
    assert report["executable"] == sys.executable and "isnet@cutouts" in report["weights"]
    text = as_text(report)
    assert f"numpy        {numpy.__version__}" in text and "nosuchpackage: pip install 'dense[demo]'" in text
    monkeypatch.setattr(doctor, "PROBES", (Probe("nosuchpackage", (), "", "everything"),))
    assert main(["doctor"]) == 1
    assert "pip install --force-reinstall dense" in capsys.readouterr().out


def test_every_probe_is_of_a_known_extra():
    settings = configparser.ConfigParser()
    settings.read(Path(__file__).resolve().parents[2] / "setup.cfg")
    assert {p.extra for p in doctor.PROBES} - {""} <= set(settings["options.extras_require"])
