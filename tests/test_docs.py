"""The documentation: pages that the navigation names, links that lead somewhere, and words that are explained."""

import importlib
import re
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted(DOCS.glob("*.md"))]
PACKAGES = ("trajectory", "analysis", "train", "ultraslow")
MADE_BY_THE_BUILD = {"index.md", "contributing.md", "changelog.md"}  # of README.md and its neighbours
LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?!https?:|mailto:)([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")


def named(tree):
    """The pages that a part of the navigation names."""
    if isinstance(tree, str):
        return [tree]
    parts = tree.values() if isinstance(tree, dict) else tree
    return [page for part in parts for page in named(part)]


def anchors(page):
    """The anchors of a page's headings, as Python-Markdown makes them."""
    headings = re.findall(
        r"^#+ (.+)$", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL), flags=re.MULTILINE
    )
    slugs = (re.sub(r"[^\w\s-]", "", heading.encode("ascii", "ignore").decode()).strip() for heading in headings)
    return {re.sub(r"[-\s]+", "-", slug).lower() for slug in slugs}


def test_the_navigation_names_every_page():
    nav = named(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    there = {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")}
    assert set(nav) == there | MADE_BY_THE_BUILD
    assert len(nav) == len(set(nav))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_inside_the_repository_lead_somewhere(page):
    for link in (link or image for link, image in LINK.findall(page.read_text())):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.is_file(), f"{page.name} links to {link}"
        if anchor:
            assert anchor in anchors(target), f"{page.name} links to {link}"


def test_the_site_loads_nothing_from_elsewhere():
    theme = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["theme"]
    assert theme["font"] is False


def test_the_architecture_page_names_every_sub_package():
    text = (DOCS / "architecture.md").read_text()
    for package in PACKAGES:
        for init in (ROOT / package).rglob("__init__.py"):
            name = ".".join(init.parent.relative_to(ROOT).parts)
            assert re.search(rf"\b{re.escape(name)}\b", text), f"docs/architecture.md does not name {name}"


def test_the_architecture_page_draws_the_layers_that_are_enforced():
    text = (DOCS / "architecture.md").read_text()
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = [contract for contract in contracts if contract["type"] == "layers"]
    assert len(layers) == 4
    for contract in layers:
        for package in contract.get("containers", ()):
            assert f"\n{package}: {' → '.join(contract['layers'])}\n" in text
        if "containers" not in contract:
            drawn = text.partition("```text\n")[2].partition("```")[0]
            assert re.findall(r"^([a-z_.]+)", drawn, flags=re.MULTILINE) == contract["layers"]


@pytest.mark.parametrize("page", [DOCS / "architecture.md", ROOT / "CONTRIBUTING.md"], ids=lambda page: page.name)
def test_files_that_guides_name_exist(page):
    files = re.findall(r"`((?:trajectory|analysis|train|ultraslow|tests|bench)/[\w/]*(?:\.py)?)`", page.read_text())
    assert files
    for file in files:
        assert (ROOT / file).exists(), f"{page.name} names {file}"


def test_the_glossary_explains_each_term_once():
    text = (DOCS / "glossary.md").read_text()
    terms = re.findall(r"^\*\*(.+)\*\*$", text, flags=re.MULTILINE)
    assert len(terms) == len(set(terms))
    for section in re.split(r"^## ", text, flags=re.MULTILINE)[2:4]:  # the field, this project
        listed = re.findall(r"^\*\*(.+)\*\*$", section, flags=re.MULTILINE)
        assert listed == sorted(listed, key=str.casefold)


def test_the_glossary_explains_the_words_of_the_command_line():
    """A word that stands alone for something: a quantity, a status, a kind of run."""
    text = (DOCS / "glossary.md").read_text()
    from analysis import Status
    from trajectory.schema.layout import QUANTITIES

    for word in (*QUANTITIES, Status.ARMED, Status.MATCHED):
        assert re.search(rf"\b{word}\b", text)


def test_the_glossary_lists_the_former_names():
    import analysis
    from analysis.fitting.former_names import FormerNames
    from train.configs.former_names import FORMER_NAMES

    text = (DOCS / "glossary.md").read_text().partition("## Former names")[2]
    rows = [row.split("|") for row in text.splitlines() if row.startswith("|")]
    assert all(hasattr(analysis, name) for name in analysis.__all__)  # and so all kinds of results are imported
    of_results = [kind.former_names for kind in FormerNames.__subclasses__()]
    assert len(of_results) >= 5
    for former, now in (pair for names in (*of_results, FORMER_NAMES) for pair in names.items()):
        found = any(f"`{former}`" in row[1] and f"`{now}`" in row[2] for row in rows)
        assert found, f"docs/glossary.md does not say that {former} is now {now}"


def test_the_api_page_of_the_front_door_lists_its_names():
    text = (DOCS / "api" / "index.md").read_text()
    listed = set(re.findall(r"\[`(\w+)`\]\[", text))
    assert listed == set(importlib.import_module("ultraslow").__all__) - {"__version__"}


@pytest.mark.parametrize("package", PACKAGES)
def test_the_api_pages_show_every_public_name(package):
    """mkdocstrings lists what `__all__` names, and a name without a docstring would be left out."""
    module = importlib.import_module(package)
    for name in getattr(module, "__all__", ()):
        value = getattr(module, name)
        if callable(value):
            assert value.__doc__, f"{package}.{name} has no docstring"


def test_hooks_before_a_commit_run_the_pinned_versions():
    pinned = (ROOT / "constraints.txt").read_text().splitlines()
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    used = {package for hook in hooks for package in hook["additional_dependencies"] if package.startswith("ruff")}
    assert used == {line for line in pinned if line.startswith("ruff==")}


def test_the_version_is_the_same_everywhere():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == version


@pytest.fixture(scope="module")
def source_distribution(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sdist")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "sdist", "--directory", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (archive,) = folder.glob("*.tar.gz")
    return archive


def test_the_source_distribution_holds_what_a_reader_needs(source_distribution):
    with tarfile.open(source_distribution) as packed:
        names = {name.partition("/")[2] for name in packed.getnames()}
    wanted = {
        *(".ci/run", ".pre-commit-config.yaml", "mkdocs.yml", "constraints.txt"),
        *("CONTRIBUTING.md", "CITATION.cff", "CHANGELOG.md", "tests/test_docs.py"),
        *("docs/format.md", "docs/figures/f1-mnist-distance.png"),
        *("notebooks/02_fit.ipynb", "bench/results/intervals.txt"),
    }
    assert wanted <= names
    assert source_distribution.stat().st_size < 1e7  # half of it are curves, of which 5 MB are allowed


def test_the_package_s_description_has_no_link_that_leads_nowhere(source_distribution):
    """A package index shows the README without the files beside it."""
    with tarfile.open(source_distribution) as packed:
        (member,) = [name for name in packed.getnames() if name.endswith("/PKG-INFO")]
        text = packed.extractfile(member).read().decode()
    assert "# ultraslow" in text
    assert not re.findall(r"\]\((?!https?:)[^)]*\)", text)
    assert "`docs/format.md`" in text
