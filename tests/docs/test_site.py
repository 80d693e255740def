"""The site: it builds without a warning, every link in it leads somewhere, and it loads nothing from another host."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml

pytest.importorskip("zensical", reason="the site is built by zensical, which `uv sync` installs")
ROOT = Path(__file__).parents[2]
LOADS = {**dict.fromkeys(("script", "img", "iframe", "source", "video", "audio", "embed"), "src"), "link": "href"}
NO_REQUEST = {"canonical", "prev", "next", "alternate"}
"""What a browser does not load, though it stands in a `link`."""


class Page(HTMLParser):
    """Anchors of a page, where its links lead, and what a browser loads to show it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.classes: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {key: value or "" for key, value in attrs}
        self.anchors |= {given[key] for key in ("id", "name") if key in given}
        self.classes |= set(given.get("class", "").split())
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        source = given.get(LOADS.get(tag, ""), "")
        if source and not (tag == "link" and set(given.get("rel", "").split()) & NO_REQUEST):
            self.loads.append(source)


@pytest.fixture(scope="module")
def said_and_site(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "tools"))
        from build_site import build

        out = tmp_path_factory.mktemp("site") / "site"
        return build(out), out


@pytest.fixture(scope="module")
def pages(said_and_site: tuple[str, Path]) -> dict[Path, Page]:
    return {path: Page(path.read_text(encoding="utf-8")) for path in said_and_site[1].rglob("*.html")}


def test_it_builds_without_a_warning(said_and_site: tuple[str, Path]) -> None:
    said, site = said_and_site
    assert "No issues found" in said and not re.search("warning|error", said, re.IGNORECASE)
    assert (site / "index.html").is_file() and (site / "docs" / "attacks" / "hag.html").is_file()


def test_every_page_stands_in_the_navigation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    from build_site import opened
    from build_site import pages as texts

    named: list[str] = []

    def collect(entry: object) -> None:
        if isinstance(entry, str):
            named.append(entry)
        else:
            for inner in entry.values() if isinstance(entry, dict) else entry:  # type: ignore[attr-defined]
                collect(inner)

    written = texts()
    collect(opened(yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"], written))
    assert sorted(named) == sorted(written), "mkdocs.yml: `nav` has every page once"


def test_every_link_and_anchor_exists(pages: dict[Path, Page]) -> None:
    dead = []
    for path, page in pages.items():
        if path.name == "404.html":  # its links are those of a server's root
            continue
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            if not target.is_file() or (parts.fragment and parts.fragment not in pages[target].anchors):
                dead.append(f"{path.name}: {link}")
    assert not dead and sum(len(page.links) for page in pages.values()) > 1000


def test_nothing_comes_from_another_host(pages: dict[Path, Page], said_and_site: tuple[str, Path]) -> None:
    loaded = {source for page in pages.values() for source in page.loads}
    assert any(source.endswith(".css") for source in loaded) and any(source.endswith(".js") for source in loaded)
    assert not {source for source in loaded if urlsplit(source).scheme not in ("", "data") or source.startswith("//")}
    for style in said_and_site[1].rglob("*.css"):
        text = style.read_text(encoding="utf-8")
        assert not re.search(r"(@import[^;]*|url\(\s*[\"']?)(https?:)?//", text), style.name
    asking = {"mermaid", "glightbox", "arithmatex", "pyodide"}  # the theme's script fetches a program where it sees one
    assert not {name for page in pages.values() for name in page.classes} & asking


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    from build_site import build

    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(SystemExit, match="holds something that is no site"):
        build(tmp_path)
    assert (tmp_path / "letter.txt").read_text() == "dear"
