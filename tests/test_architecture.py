"""Decisions that hold the project together."""

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_imports_run_one_way_and_analysis_is_free_of_torch():
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as lint; lint()"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_analysis_loads_without_torch():
    code = "import sys, analysis; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_no_bench_hides_a_package():
    benches = {path.stem for path in (ROOT / "bench").glob("*.py")}
    assert not benches & {"trajectory", "analysis", "train", "ultraslow"}


def test_the_top_level_is_the_one_agreed_on():
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages == {"trajectory", "analysis", "train", "ultraslow"}  # the last is the command line
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["only-include"] == ["trajectory", "analysis", "train", "ultraslow"]


def test_no_module_is_named_after_its_package():
    for package in ("trajectory", "analysis", "train"):
        assert not (ROOT / package / f"{package}.py").exists()
