"""Pictures that are protected copies already: the records that lie beside them know their hashes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hamguard.core.errors import HamguardError
from hamguard.core.rows import levels_text
from hamguard.images.folder import first_names
from hamguard.privacy.manifest import LINES, Entry, read_entries, read_settings


@dataclass(frozen=True)
class Before:
    """What was protected before.

    Attributes:
        files: pictures that are copies as another run wrote them, in the order of the run.
        bounds: the bounds of those runs in pixel units, smallest first.
        unknown: records that cannot be read, with the reason.
    """

    files: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()
    unknown: tuple[str, ...] = ()

    def notes(self, eps: float) -> list[str]:
        """What a person must know who protects them again within `eps`."""
        said = [f"{reason}; so it is not known whether its pictures are protected copies" for reason in self.unknown]
        if self.files:
            count = len(self.files)
            what = "picture is a protected copy" if count == 1 else "pictures are protected copies"
            then = " or ".join(levels_text(bound) for bound in self.bounds)
            said.append(
                f"{count:,} {what} already ({first_names(self.files)}): the changes add up ({then} then, {levels_text(eps)} now), "
                "and the bound holds against these copies, not against the first originals; better protect those"
            )
        return said


def protected_before(source: Path, entries: Sequence[Entry]) -> Before:
    """Which pictures of a run are copies that another run of protect wrote, known by their content.

    Records are looked for in the folder of the originals, in those of its pictures, and in those above.

    Args:
        source: picture or folder of originals.
        entries: what became of them.
    """
    bounds: dict[str, float] = {}  # of a copy, by its hash
    unknown = []
    for place in _places(source, entries):
        if not (place / LINES).is_file():
            continue
        try:
            eps = read_settings(place).eps
            bounds |= {entry.copy_hash: eps for entry in read_entries(place) if entry.copy_hash}
        except HamguardError as error:
            unknown.append(str(error))
    again = [entry for entry in entries if entry.status == "done" and entry.source in bounds]
    files = tuple(entry.file for entry in again)
    return Before(files, tuple(sorted({bounds[entry.source] for entry in again})), tuple(unknown))


def _places(source: Path, entries: Iterable[Entry]) -> list[Path]:
    folder = source if source.is_dir() else source.parent
    inside = {folder / part for entry in entries for part in Path(entry.file).parents}
    return sorted({*inside, *folder.resolve().parents})
