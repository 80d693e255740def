"""The end of a page: threat models in words, and settings, versions, seeds and hashes."""

from __future__ import annotations

from collections.abc import Sequence

from hamguard.report.cells import LONG, Section
from hamguard.report.collect import Collected, Entry, some
from hamguard.report.table import Cell, Table
from hamguard.report.wording import attack_words, goes_toward, threat_words

THREAT_HEAD = (
    "attack",
    "aim",
    "norm and eps",
    "steps",
    "starts",
    "pixels",
    "who sees what",
    "forward / backward passes a picture",
)
SETTING_HEAD = (
    "model", "data", "protocol", "learned from", "method", "network", "bits", "seeds", "queries", "versions",
    "model hash", "split hash",
)  # fmt: skip
FOUND = (
    "protocol",
    "train",
    "method",
    "backbone",
    "bits",
    "seed",
    "n",
    "version",
)  # may differ among rows of one model


def threat_models(entries: Sequence[Entry]) -> Section:
    """Each attack and budget once, whatever the model."""
    lines: dict[tuple[str, ...], dict[str, None]] = {}
    for entry in entries:
        row = entry.row
        if not row.attack or row.attack.get("method") == "ideal-code" or row.attack.get("check"):
            continue
        aim = "toward a target" if goes_toward(row) else "away"
        *facts, spent = threat_words(row)
        spends = lines.setdefault((attack_words(row), aim, *facts), {})
        if spent != "-":
            spends[spent] = None
    if not lines:
        return Section("Threat models")
    cells = tuple(tuple(map(Cell, (*key, some(list(spends))))) for key, spends in lines.items())
    words = (
        "eps is in units of a pixel's range; Linf bounds the largest change of a pixel, L2 the length of all changes.",
    )
    return Section(
        "Threat models",
        words,
        [Table("Each attack with its budget", THREAT_HEAD, cells, len(THREAT_HEAD) - 1, folded=len(cells) > LONG)],
    )


def settings(collected: Collected) -> Section:
    """What was measured with what: one line a model and data set; then the files."""
    groups: dict[tuple[str, ...], dict[tuple[str, str], None]] = {}
    shared: dict[tuple[str, str], tuple[str, str]] = {}  # models differ in few of them
    for entry in collected.entries:
        row = entry.row
        key = (
            row.model or "",
            row.dataset or "",
            row.hashes.get("model", ""),
            row.hashes.get("split", row.split or ""),
        )
        found = groups.setdefault(key, {})
        for name in FOUND:
            value = getattr(row, name)
            if value is not None:
                fact = (name, f"{value:,}" if name == "n" else str(value))
                found[shared.setdefault(fact, fact)] = None
    lines = []
    for (model, data, digest, split), found in groups.items():
        each = {name: some([text for one, text in found if one == name]) for name in FOUND}
        facts = (
            model, data, each["protocol"], each["train"], each["method"], each["backbone"], each["bits"], each["seed"], each["n"],
            each["version"], digest, split,
        )  # fmt: skip
        lines.append(tuple(map(Cell, facts)))
    files = tuple((Cell(name), Cell(f"{count:,}")) for name, count in collected.sources)
    tables = [
        Table("Models, seeds, versions and hashes", SETTING_HEAD, tuple(lines), 2, folded=len(lines) > LONG),
        Table("Files", ("file", "rows"), files, 1, folded=len(files) > LONG),
    ]
    return Section("Settings", (), tables)
