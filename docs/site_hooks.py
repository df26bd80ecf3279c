"""Hooks of mkdocs: pages made of what the repository holds already, so that no second copy can go stale.

- the front page is README.md, the pages on contributing and changes are CONTRIBUTING.md and CHANGELOG.md;
- the page on the command line holds what each command's `--help` prints;
- a link from a page of docs/ to another file of the repository leads to a copy of that file in the site.
"""

import os
import posixpath
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
PAGES = {"index.md": "README.md", "contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}
COPIES = "repository"  # the site's folder of files from outside docs/
COMMANDS = "<!-- the --help of every command -->"
SETTINGS = {"train": [["train", "f1-mnist"]]}  # commands whose help depends on an argument
_LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)\s]+)\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that lie outside docs/, and copies of the files that pages link to there.

    Args:
        files: what mkdocs found in docs/.
        config: the site's configuration.

    Returns:
        The files of the site.
    """
    for page, source in PAGES.items():
        files.append(File.generated(config, page, content=site_links((ROOT / source).read_text(), source)))
    pages = [(f"docs/{file.src_uri}", file.content_string) for file in files.documentation_pages()]
    sources = [(source, (ROOT / source).read_text()) for source in PAGES.values()]
    linked = {target for source, text in [*pages, *sources] for target in outside(text, source)}
    for path in sorted(linked):
        files.append(File.generated(config, f"{COPIES}/{path}", abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Rewrite links that leave docs/, and fill in the commands' help.

    Args:
        markdown: the page's text.
        page: the page.
        config: the site's configuration.
        files: the files of the site.

    Returns:
        The text to render.
    """
    if page.file.src_uri not in PAGES:
        markdown = site_links(markdown, f"docs/{page.file.src_uri}")
    return markdown.replace(COMMANDS, command_help()) if COMMANDS in markdown else markdown


def targets(text: str, source: str) -> dict[str, str]:
    """Find the links of a page to files of the repository.

    Args:
        text: the page's Markdown.
        source: the page's path in the repository.

    Returns:
        Each link as it is written, with the path it leads to in the repository.
    """
    found = {}
    for link in _LINK.findall(text):
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), link.partition("#")[0]))
        if (ROOT / path).exists():
            found[link] = path
    return found


def outside(text: str, source: str) -> set[str]:
    """Find the files outside docs/ that a page links to, other than those that are pages of the site.

    Args:
        text: the page's Markdown.
        source: the page's path in the repository.

    Returns:
        Their paths in the repository.
    """
    pages = PAGES.values()
    return {path for path in targets(text, source).values() if not path.startswith("docs/") and path not in pages}


def site_links(text: str, source: str) -> str:
    """Rewrite the links of a page from the repository's folders to the site's.

    Args:
        text: the page's Markdown.
        source: the page's path in the repository.

    Returns:
        The text, with links that hold from the page's place in the site.
    """
    own = {path: page for page, path in PAGES.items()}
    page = own.get(source, source.removeprefix("docs/"))
    for link, path in targets(text, source).items():
        place = own.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") else f"{COPIES}/{path}")
        fragment = f"#{link.partition('#')[2]}" if "#" in link else ""
        there = posixpath.relpath(place, posixpath.dirname(page) or ".")
        text = text.replace(f"]({link})", f"]({there}{fragment})")
    return text


def command_help() -> str:
    """Run every command with `--help`; `train` also with a recipe, since only then its settings have values.

    Returns:
        A section a command, in the order in which `ultraslow --help` names them.
    """
    usage = _help()
    names = re.search(r"\{([a-z,-]+)\}", usage)
    assert names, f"`ultraslow --help` names no commands: {usage}"
    commands = [command for name in names[1].split(",") for command in ([name], *SETTINGS.get(name, ()))]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        texts = pool.map(lambda command: _help(*command), commands)
    sections = zip(commands, texts, strict=True)
    return "\n".join(f"## ultraslow {' '.join(command)}\n\n```text\n{text}```\n" for command, text in sections)


def _help(*command: str) -> str:
    """What `ultraslow COMMAND --help` prints, a hundred columns wide."""
    environment = os.environ | {"COLUMNS": "100", "NO_COLOR": "1", "PYTHONUTF8": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "ultraslow", *command, "--help"],
        env=environment, cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout
