"""Build the documentation as a site that needs no network, from README, docs, notebooks and results.

    uv run python tools/build_site.py [FOLDER]

The pages lie beside one another as in the repository, so their links stay as they are. Folders in the navigation of `mkdocs.yml`
stand for all their pages. The site is written to FOLDER (`site`), which this program made, or which is empty or not there yet.
`python -m http.server -d FOLDER` shows it; opened as files, the pages lack only their search.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from notebook_page import notebook_page, notebooks_as_pages

ROOT = Path(__file__).parent.parent
LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)\s]*)?\)")
MARK = "search.json"
"""A file that every site has."""


def pages(root: Path = ROOT) -> dict[str, str]:
    """The text of every page by its path from the root; a notebook is a page, too."""
    paths = [root / "README.md", root / "CONTRIBUTING.md", *sorted((root / "docs").rglob("*.md"))]
    paths += sorted((root / "results").glob("*.md"))
    texts = {path.relative_to(root).as_posix(): notebooks_as_pages(path.read_text(encoding="utf-8")) for path in paths}
    for path in sorted((root / "docs").rglob("*.ipynb")):
        texts[path.relative_to(root).with_suffix(".md").as_posix()] = notebook_page(path)
    return texts


def linked(texts: dict[str, str], root: Path = ROOT) -> Iterator[Path]:
    """Files, which are no pages, that pages show or lead to."""
    for name, text in texts.items():
        for target in LINK.findall(text):
            path = (root / name).parent.joinpath(target).resolve()
            if path.is_file() and path.suffix != ".md" and path.is_relative_to(root):
                yield path.relative_to(root)


def title(text: str) -> str:
    """What a page is called: its first heading, as far as the colon."""
    heading = next((line for line in text.splitlines() if line.startswith("# ")), "# ")
    return heading.removeprefix("# ").partition(":")[0].replace("`", "")


def opened(entry: Any, texts: dict[str, str]) -> Any:
    """An entry of the navigation with every folder replaced by its pages, its README first, and every page under its title."""
    if isinstance(entry, list):
        return [opened(inner, texts) for inner in entry]
    if isinstance(entry, dict):
        return {name: inner if _is_page(inner) else opened(inner, texts) for name, inner in entry.items()}
    if _is_page(entry):
        return {title(texts[entry]): entry}
    inside = [name for name in texts if name.rpartition("/")[0] == entry[:-1]]
    inside.sort(key=lambda name: (not name.endswith("README.md"), name))
    return [name if name.endswith("README.md") else {title(texts[name]): name} for name in inside]


def _is_page(entry: Any) -> bool:
    return isinstance(entry, str) and not entry.endswith("/")


def lay_out(folder: Path, root: Path = ROOT) -> None:
    """Write pages, what they lead to, and the settings with the whole navigation into an empty folder."""
    texts = pages(root)
    for name, text in texts.items():
        path = folder / "pages" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for other in set(linked(texts, root)):
        path = folder / "pages" / other
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / other, path)
    settings = yaml.safe_load((root / "mkdocs.yml").read_text(encoding="utf-8"))
    settings["nav"] = opened(settings["nav"], texts)
    (folder / "mkdocs.yml").write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")


def build(out: Path, root: Path = ROOT) -> str:
    """Build the site into a folder; what the builder said.

    Raises:
        SystemExit: the folder holds something else, or the builder warned or failed.
    """
    if out.exists() and any(out.iterdir()) and not (out / MARK).exists():
        raise SystemExit(f"{out} holds something that is no site; give another folder, or empty this one")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        lay_out(folder, root)
        done = subprocess.run(
            [sys.executable, "-m", "zensical", "build", "--strict", "--config-file", "mkdocs.yml"],
            cwd=folder, text=True, capture_output=True, check=False,
        )  # fmt: skip
        said = done.stdout + done.stderr
        if done.returncode:
            raise SystemExit(said)
        if out.exists():
            shutil.rmtree(out)
        shutil.copytree(folder / "site", out)
    return said


if __name__ == "__main__":
    sys.stdout.write(build(Path(sys.argv[1] if len(sys.argv) > 1 else "site")))
