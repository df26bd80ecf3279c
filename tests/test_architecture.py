"""Decisions that hold the project together."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("trajectory", "analysis", "train", "ultraslow")


def test_the_contracts_of_pyproject_hold():
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as lint; lint()"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_what_is_private_is_imported_by_its_own_package_alone():
    for path in (path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        importer = path.relative_to(ROOT).with_suffix("").parts
        for node in ast.walk(ast.parse(path.read_text())):
            names = (
                [f"{node.module}.{alias.name}" for alias in node.names] if isinstance(node, ast.ImportFrom) else []
            )
            for name in (name.split(".") for name in names if name.startswith(PACKAGES)):
                private = [k for k, part in enumerate(name) if part.startswith("_") and not part.startswith("__")]
                assert all(importer[:k] == tuple(name[:k]) for k in private), f"{path} imports {'.'.join(name)}"


def test_the_landscape_alone_loads_torch_and_the_figures_alone_matplotlib():
    code = (
        "import sys, ultraslow.cli.app; from analysis import fit, compare, match, runs_in\n"
        "assert 'torch' not in sys.modules; import analysis.landscape; assert 'torch' in sys.modules\n"
        "from train import train, table; assert 'matplotlib' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=ROOT).returncode == 0


def test_no_bench_hides_a_package():
    benches = {path.stem for path in (ROOT / "bench").glob("*.py")}
    assert not benches & set(PACKAGES)


def test_the_top_level_is_the_one_agreed_on():
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages == set(PACKAGES)
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["only-include"] == list(PACKAGES)


def test_no_module_is_named_after_its_package():
    for package in PACKAGES:
        assert not (ROOT / package / f"{package}.py").exists()
