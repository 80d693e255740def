"""`python -m tests.golden --record [NAME ...]` keeps the rows that commands print now; `--times` says what each takes."""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from tests.golden.commands import COMMANDS
from tests.golden.lab import Lab
from tests.golden.rows import PROBE, save


def main() -> None:
    """Record all commands, or those that are named."""
    parser = argparse.ArgumentParser(prog="python -m tests.golden", description=__doc__)
    parser.add_argument("--record", action="store_true", required=True, help="write the rows that commands print now")
    parser.add_argument("names", nargs="*", help="commands; all of them where none is named")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        lab = Lab(Path(root))
        PROBE.write_text(f"{lab('')}\n", encoding="utf-8")
        for command in COMMANDS:
            if not asked.names or command.name in asked.names:
                begun = time.monotonic()
                try:
                    rows = lab(command.name)
                except AssertionError as error:
                    print(f"{command.name}: {error}")  # noqa: T201
                    continue
                save(command.name, rows)
                print(f"{time.monotonic() - begun:6.2f} s {command.name}: {len(rows) - 1} rows", flush=True)  # noqa: T201
        lab.close()


if __name__ == "__main__":
    main()
