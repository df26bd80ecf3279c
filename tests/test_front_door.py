"""`import ultraslow` in fresh interpreters: what it gives, what it costs, and whose packages it finds."""

import ast
import importlib
import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAZY = ("ultraslow", "ultraslow.large_batch", "trajectory", "analysis", "train")


def python(*arguments, cwd=None, env=None):
    """A fresh interpreter; what it printed."""
    return subprocess.run([sys.executable, *arguments], cwd=cwd, env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("package", LAZY)
def test_every_public_name_is_there(package):
    module = importlib.import_module(package)
    assert list(module.__all__) == sorted(module.__all__, key=lambda name: (not name.isupper(), name.islower(), name))
    for name in module.__all__:
        assert getattr(module, name) is not None
        assert name in dir(module)
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'nonsense'"):
        module.nonsense  # noqa: B018


@pytest.mark.parametrize("package", LAZY)
def test_type_checkers_and_python_import_the_same_names(package):
    (block,) = [
        node
        for node in ast.parse(Path(importlib.import_module(package).__file__).read_text()).body
        if isinstance(node, ast.If)
    ]
    typed = {line.module: {alias.name for alias in line.names} for line in block.body}
    homes = next(ast.literal_eval(node) for node in ast.walk(block) if isinstance(node, ast.Dict))
    assert {module: set(names) for module, names in homes.items()} == typed
    assert set().union(*typed.values()) == set(importlib.import_module(package).__all__)


@pytest.mark.parametrize("package", LAZY)
def test_a_package_is_imported_without_what_its_names_need(package):
    code = f"import sys, {package}; print({{'torch', 'matplotlib', 'pandas', 'zarr', 'scipy'}} & set(sys.modules))"
    done = python("-c", code)
    assert (done.stdout, done.stderr) == ("set()\n", "")


def test_help_imports_nothing_that_takes_long():
    code = "import sys; sys.argv = ['ultraslow', '--help']; from ultraslow.cli.app import main\n"
    code += "try: main()\nexcept SystemExit: print({'numpy', 'pandas', 'scipy', 'zarr', 'torch'} & set(sys.modules))"
    assert python("-c", code).stdout.endswith("\nset()\n")


def test_reading_fitting_and_drawing_need_no_torch():
    code = (
        "import sys; from ultraslow import Run, fit, scan, compare, match, predict_match, DistanceMatcher, sqrt_lr\n"
        "print({'torch', 'matplotlib', 'train'} & set(sys.modules))\n"
        "import analysis.figures; print({'torch'} & set(sys.modules))"
    )
    done = python("-c", code)
    assert (done.stdout, done.stderr) == ("set()\nset()\n", "")


def test_the_version_is_that_of_the_distribution():
    import ultraslow

    assert ultraslow.__version__ == importlib.metadata.version("ultraslow")
    done = python("-m", "ultraslow", "--version")
    assert (done.returncode, done.stdout) == (0, f"ultraslow {ultraslow.__version__}\n")


def test_no_module_is_hidden_by_a_function_of_its_name():
    for path in ROOT.glob("*/**/*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts[0] in ("trajectory", "analysis", "train", "ultraslow") and parts[-1] not in ("__init__", "__main__"):
            package = importlib.import_module(".".join(parts[:-1]))
            assert parts[-1] not in getattr(package, "__all__", ()), path


def test_a_script_called_train_uses_all_but_plan(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(
        "import ultraslow\n"
        "for name in ultraslow.__all__:\n"
        "    if name != 'plan':\n"
        "        getattr(ultraslow, name)\n"
        "print('ok')\n"
        "ultraslow.plan\n"
    )
    done = python("train.py", cwd=tmp_path)
    assert done.stdout == "ok\n", done.stderr
    line = done.stderr.splitlines()[-1]
    assert "HiddenPackageError: the name 'train' stands for" in line
    assert str(script) in line
    assert str(ROOT / "train" / "__init__.py") in line
    assert "rename the former" in line


@pytest.mark.parametrize("name", ["analysis", "train", "trajectory"])
def test_the_command_is_not_led_astray_by_the_working_folder(tmp_path, name):
    (tmp_path / f"{name}.py").write_text("print('HIDES')\n")
    done = python("-m", "ultraslow", "train", "--list", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "HIDES" not in done.stdout


@pytest.mark.parametrize("name", ["analysis", "train", "trajectory"])
def test_a_hidden_package_is_one_line(tmp_path, name, monkeypatch):
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text("print('HIDES')\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{ROOT}")
    done = python("-m", "ultraslow", "train", "--list", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"ultraslow: the name '{name}' stands for {tmp_path / name / '__init__.py'} here")
    assert str(ROOT / name / "__init__.py") in line


def test_a_command_that_needs_no_train_does_not_mind_another(tmp_path, monkeypatch):
    (tmp_path / "train.py").write_text("print('HIDES')\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{ROOT}")
    done = python("-m", "ultraslow", "info", "none.zarr", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "no such run" in done.stderr
