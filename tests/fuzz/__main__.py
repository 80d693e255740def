# ruff: noqa: T201
"""`uv run python -m tests.fuzz --mutants 10000 --seed 1`: a hunt with a table; with --number one mutant made again."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz.hunt import Hunt
from tests.fuzz.kills import VERBS, Killer
from tests.fuzz.kinds import KINDS


def kill(given: argparse.Namespace) -> int:
    """Kill commands in turn."""
    killer = Killer(given.root or Path(tempfile.mkdtemp(prefix="hamguard-kills-")))
    verbs = [verb for verb in VERBS if not given.kind or any(word in verb.name for word in given.kind)]
    found = []
    for number in range(given.kills):
        found.append(killer.kill(verbs[number % len(verbs)], given.seed, number // len(verbs)))
        print(found[-1], flush=True)
    hits = sum(one.hit for one in found)
    wrong = [str(one) for one in found if one.verdict != "equal"]
    print(
        f"{len(found)} kills, {hits} of a running command, {len(found) - len(wrong)} with equal results and nothing left behind"
    )
    return bool(wrong)


def main() -> int:
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--mutants", type=int, default=1000, help="over all kinds")
    ask.add_argument("--seed", type=int, default=0)
    ask.add_argument("--kind", action="append", help="a part of its name; may be repeated; default: all")
    ask.add_argument("--number", type=int, help="only this mutant of each kind")
    ask.add_argument("--kills", type=int, help="instead of breaking files: SIGKILLs over all commands that write")
    ask.add_argument("--root", type=Path, help="keep the world here")
    ask.add_argument("--out", type=Path, help="write the faults here, too")
    given = ask.parse_args()
    if given.kills:
        return kill(given)
    kinds = [kind for kind in KINDS if not given.kind or any(word in kind.name for word in given.kind)]
    hunt = Hunt(given.root or Path(tempfile.mkdtemp(prefix="hamguard-fuzz-")))
    whole = sum(kind.share for kind in kinds)
    begun = time.monotonic()
    for kind in kinds:
        for number in range(round(given.mutants * kind.share / whole)) if given.number is None else [given.number]:
            try:
                found = hunt.try_one(kind.name, given.seed, number)
            except RuntimeError as error:
                print(f"not tried: {error}", flush=True)
                break
            if found in hunt.faults or given.number is not None:
                print(found, flush=True)
        spent = time.monotonic() - begun
        print(f"[{spent:6.0f} s] {kind.name}: {dict(hunt.counts.get(kind.name, {}))}", file=sys.stderr, flush=True)
    hunt.close()
    lines = list(hunt.table())
    print("\n".join(lines))
    if given.out:
        given.out.write_text("\n".join([*map(str, hunt.faults), "", *lines]) + "\n", encoding="utf-8")
    return bool(hunt.faults)


if __name__ == "__main__":
    sys.exit(main())
