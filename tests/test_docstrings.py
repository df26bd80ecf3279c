"""Docstrings in the Google convention that name every parameter of every public function, class and dataclass.

ruff checks their form (pydocstyle), and the parameters of a docstring that has the section Args: only.
"""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SECTIONS = r"Args|Attributes|Returns|Yields|Raises|Examples|Note"
MODULES = sorted(
    path.relative_to(ROOT).as_posix()
    for package in ("trajectory", "analysis", "train", "ultraslow")
    for path in (ROOT / package).rglob("*.py")
    if path.name == "__init__.py" or not path.name.startswith("_")
)


def section(text, *names):
    """The lines below one of the headings, up to the next heading."""
    match = re.search(rf"^ *(?:{'|'.join(names)}):\n(.*?)(?=^ *(?:{SECTIONS}):\n|\Z)", text, re.M | re.S)
    return match[1] if match else ""


def entries(text, *names):
    """The names that the section's entries begin with: `a:`, `*a:`, `a (int):` or `a, b:`."""
    heads = re.findall(
        r"^ *((?:\*{0,2}\w+(?: \([^)]*\))?, )*\*{0,2}\w+)(?: \([^)]*\))?:", section(text, *names), re.M
    )
    return {name for head in heads for name in re.findall(r"\w+", head)}


def decorators(node):
    return [ast.unparse(decorator) for decorator in node.decorator_list]


def parameters(function, *, method):
    """Names of the public parameters, `self` and `cls` left out."""
    arguments = function.args
    listed = [*arguments.posonlyargs, *arguments.args][
        1 if method and "staticmethod" not in decorators(function) else 0 :
    ]
    listed += [*arguments.kwonlyargs, *filter(None, (arguments.vararg, arguments.kwarg))]
    return [argument.arg for argument in listed if not argument.arg.startswith("_")]


def of_function(function, where, *, method):
    """What the docstring of a function lacks."""
    marks = decorators(function)
    text = ast.get_docstring(function) or ""
    if any(mark in ("overload", "property", "cached_property") or mark.endswith(".setter") for mark in marks):
        return
    missing = set(parameters(function, method=method)) - entries(text, "Args")
    if missing:
        yield f"{where}: Args lacks {', '.join(sorted(missing))}"
    returned = ast.unparse(function.returns) if function.returns else "None"
    says_so = section(text, "Returns", "Yields") or re.match(r"(Return|Yield|Iterate)\b", text)
    if returned not in ("None", "Self", "NoReturn") and not says_so:
        yield f"{where}: neither a section Returns: nor a summary that begins with Return"


def of_class(node, where):
    """What the docstrings of a class lack: its parameters or fields, and its public methods."""
    text = ast.get_docstring(node) or ""
    for method in (part for part in node.body if isinstance(part, ast.FunctionDef)):
        if method.name == "__init__":
            missing = set(parameters(method, method=True)) - entries(text, "Args")
            if missing:
                yield f"{where}: Args lacks {', '.join(sorted(missing))}"
        elif node.bases and not ast.get_docstring(method):
            continue  # its base says what it does; ruff's D102 asks for the file to say so
        elif not method.name.startswith("_"):
            yield from of_function(method, f"{where}.{method.name}", method=True)
    if any("dataclass" in mark for mark in decorators(node)):
        explained = [*node.body[1:], None]
        for field, after in zip(node.body, explained, strict=True):
            if not isinstance(field, ast.AnnAssign) or "ClassVar" in ast.unparse(field.annotation):
                continue
            below = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
            name = ast.unparse(field.target)
            if not (below or name.startswith("_") or name in entries(text, "Attributes", "Args")):
                yield f"{where}: Attributes lacks {name}"


@pytest.mark.parametrize("path", MODULES)
def test_docstrings_name_every_parameter(path):
    problems = []
    for node in ast.parse((ROOT / path).read_text()).body:
        name = getattr(node, "name", "_")
        if isinstance(node, ast.FunctionDef) and not name.startswith("_"):
            problems += of_function(node, name, method=False)
        elif isinstance(node, ast.ClassDef) and not name.startswith("_"):
            problems += of_class(node, name)
    assert not problems, "\n".join(problems)
