"""Run the notebooks of `docs/notebooks` and keep what their cells showed, without what differs from run to run.

uv run python tools/build_notebooks.py [NAME ...]
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parent.parent / "docs" / "notebooks"
LIMIT = 300
"""Seconds that a cell may take."""


def executed(path: Path, folder: Path) -> Any:
    """A notebook after a run in `folder`, with its outputs.

    Raises:
        CellExecutionError: a cell raised; the message has its code and its traceback.
    """
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=LIMIT, kernel_name="python3", resources=resources).execute()
    return notebook


def kept(notebook: Any, folder: Path) -> Any:
    """The notebook as it is stored: no times, bars or warnings, no path of this machine."""
    for cell in notebook.cells:
        cell.metadata.clear()
        if cell.cell_type == "code":
            cell.outputs = _joined(output for output in cell.outputs if _stays(output))
            for output in cell.outputs:
                for key, text in output.get("data", {}).items():
                    if key.startswith("text/"):
                        output["data"][key] = _plain(text, folder)
                if "text" in output:
                    output["text"] = _plain(output["text"], folder)
    notebook.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    return notebook


def _stays(output: Any) -> bool:
    return output.get("name") != "stderr" and "application/vnd.jupyter.widget-view+json" not in output.get("data", {})


def _joined(outputs: Iterable[Any]) -> list[Any]:
    """Printed lines come in pieces that depend on the moment; they stand together."""
    found: list[Any] = []
    for output in outputs:
        if found and output.output_type == found[-1].output_type == "stream":
            found[-1]["text"] += output["text"]
        else:
            found.append(output)
    return found


def _plain(text: str, folder: Path) -> str:
    text = re.sub(rf"({re.escape(str(folder.resolve()))}|{re.escape(str(folder))})/?", "", text)
    return re.sub(r"[\d.,]+ pictures a second \([^)]*\)(, peak memory [\d,]+ MiB)?(<br>|\n|$)", "", text)


def main(names: list[str]) -> None:
    """Run and store the notebooks, all of them where none is named."""
    os.environ["JUPYTER_PLATFORM_DIRS"] = "1"
    for path in [FOLDER / f"{name}.ipynb" for name in names] or sorted(FOLDER.glob("*.ipynb")):
        with tempfile.TemporaryDirectory() as name:
            notebook = kept(executed(path, Path(name)), Path(name))
        nbformat.validate(notebook)
        path.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
