"""The folder of a run: whether it is finished, free, or somebody else's."""

from __future__ import annotations

from pathlib import Path

from hamguard.core.errors import DamagedError, MissingFileError, RequestError, StaleError
from hamguard.core.files import read_sealed, sweep
from hamguard.training.loop import forget


def is_finished(
    folder: Path,
    run: str,
    *,
    run_file: str,
    card_file: str,
    or_else: str = "",
    restart: bool = False,
    leads: bool = True,
) -> bool:
    """Whether a folder holds this very run, finished; refuse anything that would be lost.

    Args:
        folder: what the person gave.
        run: hash of everything that defines the run.
        run_file: file that keeps the hash, as `run` of a JSON object.
        card_file: file that a finished run has.
        or_else: what else may differ, said where the folder holds another run.
        restart: throw away what an earlier run left.
        leads: whether this process writes.

    Raises:
        RequestError: a file, or a folder with other things.
        StaleError: another run.
    """
    if folder.exists() and not folder.is_dir():
        raise RequestError(f"{folder} is a file; --out must be a folder")
    sweep(folder)
    if folder.is_dir() and any(folder.iterdir()) and not (folder / run_file).is_file():
        raise RequestError(f"{folder} holds other files; --out must be a new folder or one that hamguard made")
    if restart:
        if leads:
            for name in (card_file, run_file):
                (folder / name).unlink(missing_ok=True)
            forget(folder)
        return False
    if not (folder / run_file).is_file():
        return False
    if stored_run(folder / run_file) != run:
        raise StaleError(f"{folder} holds another run{or_else}; give another --out, or --restart to train over it")
    return (folder / card_file).is_file()


def stored_run(path: Path) -> str | None:
    """Hash of the run that a folder belongs to; None where it does not say.

    Raises:
        RequestError: the file is damaged.
    """
    try:
        return str(read_sealed(path, "run", old=lambda content: "run" in content).get("run"))
    except MissingFileError:
        return None
    except DamagedError as error:
        raise RequestError(f"{error}; give another --out, or --restart to train over it") from error
