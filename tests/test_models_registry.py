"""The registry: every entry whole, true to the bytes, and found."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from accel.manifest import FLOAT32, WIRES
from models import registry, tasks
from models.datasets import dataset
from models.registry import RegistryError

NAMES = (
    "ad01, ad08, cnv-w1a1, dscnn-w4a4, ic01, ic02, kws-w3a3, kws01, mnist-w2a2, resnet8-w4a4, rn07, sww01, "
    "tfc-w1a1, vww01"
)
GOOD = """
title = "a"
task = "mnist"
format = "onnx"
file = "a.onnx"
sha256 = "{sha}"
url = "https://example.org/a.onnx"
""".format(sha="0" * 64)


def test_every_model_is_there_and_whole() -> None:
    entries = registry.all()
    assert ", ".join(entry.name for entry in entries) == NAMES
    assert registry.find(registry.DEFAULT).trained_here
    known = {d.name: d for d in dataset.all()}
    for entry in entries:
        origin = "headrace train " if entry.trained_here else "https://"
        assert entry.source.startswith(origin) and entry.title and entry.preprocessing, entry.name
        assert entry.licence in ("Apache-2.0", "BSD-3-Clause", "MIT"), entry.name
        assert entry.macs and entry.macs > 0, entry.name
        assert entry.encoding is None or entry.encoding.wire in (*WIRES, FLOAT32), entry.name
        assert entry.url is None or re.search("/[0-9a-f]{40}/", entry.url), f"{entry.name}: pinned to a commit"
        for name in entry.datasets:
            same_bytes = tasks.find(known[name].task).sample_bytes == tasks.find(entry.task).sample_bytes
            assert same_bytes, (entry.name, name)
    for d in dataset.all():
        assert (d.sha256 is None) == (d.kind == "local"), d.name
        assert len(d.positions) in (0, d.samples), d.name


def test_the_registry_speaks_of_the_real_files(data: Path) -> None:
    for entry in registry.all():
        if not entry.trained_here:
            path = data / "models" / entry.file
            assert hashlib.sha256(path.read_bytes()).hexdigest() == entry.sha256, entry.name
            assert registry.find(path).name == entry.name


def test_a_file_is_found_by_its_path_and_recognized_by_its_bytes(tmp_path: Path) -> None:
    mine = tmp_path / "mine.onnx"
    mine.write_bytes(b"not looked into here")
    entry = registry.find(str(mine))
    assert (entry.name, entry.task, entry.format, entry.path) == ("mine", "custom", "onnx", mine)
    assert entry.datasets == () and entry.encoding is None and entry.url is None
    shipped = registry.find("mnist-w2a2")
    assert shipped.path is not None
    copy = tmp_path / "copy.onnx"
    copy.write_bytes(shipped.path.read_bytes())
    assert registry.find(copy).name == "mnist-w2a2" and registry.find(copy).path == copy


def test_what_is_not_known(tmp_path: Path) -> None:
    tail = f"Known: {NAMES}; or give the path of a file (.onnx or .tflite)"
    for name, hint in (("kws", "Did you mean kws01 or kws-w3a3? "), ("?", "")):
        with pytest.raises(RegistryError) as error:
            registry.find(name)
        assert str(error.value) == f"no model is called {name!r}. {hint}{tail}"
    (tmp_path / "notes.txt").touch()
    for path, message in (
        (tmp_path / "no.onnx", "there is no such model file"),
        (tmp_path, "there is no such model file"),
        (tmp_path / "notes.txt", "a model file ends in .onnx or .tflite"),
    ):
        with pytest.raises(RegistryError) as error:
            registry.find(path)
        assert str(error.value) == f"{path}: {message}"
    with pytest.raises(KeyError, match="task must be one of kws01, ic01, ad01, vww01, ic02, sww01, mnist, not 'asr'"):
        tasks.find("asr")
    with pytest.raises(RegistryError, match=r"^no data set is called 'x'; known: ad01, ic01, kws01, kws01-w3a3, mnist"):
        dataset.find("x")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD + "macs = many", "Invalid value"),
        (GOOD + "mac = 1", "unknown field 'mac'"),
        (GOOD.replace("title", "licence"), "field 'title' is missing"),
        (GOOD + 'macs = "1"', "macs must be int, not '1'"),
        (GOOD + "datasets = [1]", "datasets must be str, not 1"),
        (GOOD + "datasets = 1", "datasets must be tuple, not 1"),
        (GOOD + "[encoding]\nwires = 1", "encoding: unknown field 'wires'"),
        (GOOD + "[encoding]\nscale = 1", "encoding: scale must be float, not 1"),
        (GOOD + "[accuracy]\nmnist = 0.9", "accuracy on mnist, which is not one of its datasets"),
        (GOOD + "[limits]\nlutt = 9", "limits: unknown field 'lutt'"),
        (GOOD.replace("mnist", "asr"), "task must be one of kws01, ic01, ad01, vww01, ic02, sww01, mnist, not 'asr'"),
        (GOOD.replace("0" * 64, "0"), "sha256 must have 64 hexadecimal digits, not '0'"),
        (GOOD.replace("url", "source"), "needs a url, or an origin that says what the file was made from"),
    ],
)
def test_an_entry_that_breaks_the_rules(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "a.toml"
    path.write_text(GOOD)
    assert registry.read(path).name == "a"
    path.write_text(text)
    with pytest.raises(RegistryError, match=f"^{re.escape(str(path))}: {re.escape(message)}"):
        registry.read(path)
