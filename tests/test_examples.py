"""The examples of the public names: each has one, and every example in the packages does what it says."""

import doctest
import importlib
import inspect
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("trajectory", "analysis", "analysis.landscape", "train", "ultraslow", "ultraslow.large_batch")
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def callables(package):
    """Public names but for errors, constants and `__version__`."""
    names = importlib.import_module(package).__all__
    return [name for name in names if not (name.endswith("Error") or name.isupper() or name.startswith("__"))]


def modules_with_examples():
    paths = [
        path
        for package in ("trajectory", "analysis", "train", "ultraslow")
        for path in ROOT.glob(f"{package}/**/*.py")
    ]
    return sorted(
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in paths
        if ">>> " in path.read_text()
    )


@pytest.mark.parametrize(
    ("package", "name"), [(package, name) for package in PACKAGES for name in callables(package)]
)
def test_a_public_name_has_an_example(package, name):
    text = inspect.getdoc(getattr(importlib.import_module(package), name)) or ""
    section = re.search(r"^Examples:\n((?: .*|)\n?)+", text, re.MULTILINE)
    assert section, f"{package}.{name} has no section Examples:"
    assert ">>> " in section[0]


@pytest.mark.parametrize("module", modules_with_examples())
def test_an_example_does_what_it_says(module, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    failures = []
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    for test in doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(module)):
        runner.run(test, out=failures.append)
    assert runner.summarize(verbose=False).attempted > 0, "doctest does not find the example"
    assert not failures, "".join(failures)
