"""Images to codes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hamguard.api.arguments import checked
from hamguard.api.running import running
from hamguard.codes.bank import CodeBank
from hamguard.core.checks import check_choice, check_range
from hamguard.core.context import Context
from hamguard.core.errors import RequestError, RunError
from hamguard.core.label_arrays import label_rows
from hamguard.data.given import image_store
from hamguard.data.opened import Data, DataPart
from hamguard.evaluation.search.encoding import Shard, encode_shards, joined, shards_of
from hamguard.evaluation.search.open_encoding import open_for_encoding
from hamguard.evaluation.search.origin import origin_of
from hamguard.evaluation.search.ray_encoding import RayEncoders, import_ray
from hamguard.models.cross_modal import CrossModel, image_side
from hamguard.models.foreign import check_face
from hamguard.models.store import AnyModel, called, load_any
from hamguard.models.trial import notes_of
from hamguard.retrieval.origin import write_origin
from hamguard.training.encode import encode as encode_part
from hamguard.training.encode import packed_codes

__all__ = ["Banks", "encode", "encode_data"]
SHARD = 4096  # pictures, where nobody says how many


@checked
def encode(
    model: AnyModel | CrossModel | str | Path,
    part: DataPart | Any,
    labels: Any = None,
    *,
    batch_size: int = 256,
    context: Context | None = None,
) -> CodeBank:
    """Codes of images by a model, with their labels: `hg.encode(model, data.query)`.

    Args:
        model: a trained, loaded or wrapped model, or whatever `hg.load` takes; of a model of images and texts the image side asks.
        part: a part of data, such as `data.query`; or images as `hg.data` takes them.
        labels: of images: class numbers `(N,)` or multi-hot `(N, C)`; None for codes without labels.
        batch_size: images at once.
        context: where to compute, how progress is shown.

    Raises:
        RequestError: a bare module, images of another size than the model's, images without range or shape, a model that returns no
            `(B, K)`.
        RunError: the model returns NaN, or fails.
    """
    if isinstance(part, Data):
        raise RequestError("encode takes a part of the data: data.query, data.database, data.train or data.validation")
    context = running(context, model)
    side: AnyModel = load_any(model, context.device)[0] if isinstance(model, (str, Path)) else image_side(model)
    check_face(side)
    with context.stage(f"encoding with {called(side)}") as progress:
        if isinstance(part, DataPart):
            if labels is not None:
                raise RequestError("labels belong to images; a part of data has its own")
            return encode_part(
                side,
                part.dataset,
                part.split,
                part.part,
                batch_size=batch_size,
                device=context.device,
                progress=progress,
            )
        store, _ = image_store(part)
        packed = packed_codes(
            side, store, np.arange(len(store)), batch_size=batch_size, device=context.device, progress=progress
        )
    marks = np.zeros((len(store), 0), np.uint8) if labels is None else label_rows(labels)
    return CodeBank(packed, side.bits, marks, model_hash=side.digest)


@dataclass(frozen=True)
class Banks:
    """Banks that were written.

    Attributes:
        facts: file, role, count, bits, bytes and hashes of each.
        notes: what a reader of the model's codes must know.
        unread: images that could not be read.
    """

    facts: tuple[dict[str, Any], ...]
    notes: tuple[str, ...]
    unread: tuple[str, ...]


def encode_data(
    model: str | Path,
    out: Path | str,
    *,
    data: str | None = None,
    root: Path | str | None = None,
    protocol: str | None = None,
    queries: int | None = None,
    batch_size: int = 256,
    shard_size: int | None = None,
    runner: Literal["here", "ray"] = "here",
    workers: int | None = None,
    context: Context | None = None,
) -> Banks:
    """Encode queries and database into `query.npz` and `database.npz` of a folder.

    With `shard_size`, and by Ray, codes are made and kept in shards beside them, so that a run that was stopped goes on where it
    was; both runners write the same bytes.

    Args:
        model: whatever names a model.
        out: the folder.
        data: a source; by default what the model was trained on.
        root: folder of the named data sets.
        protocol: named split; the model's own by default.
        queries: only the first so many of the query split.
        batch_size: images at once.
        shard_size: pictures a shard; None for one piece, by Ray for shards of 4,096.
        runner: `here` in this process; `ray` by workers of Ray, of the cluster of `RAY_ADDRESS` or of one on this machine.
        workers: of Ray; None for one a GPU where that is the device, else one a core.
        context: device, and how progress is shown; with `restart` shards of an earlier run are made again.

    Raises:
        RequestError: no such model or data, images that do not fit the model, a shard without pictures, workers without Ray, or Ray
            that is not installed or not reached.
        RunError: the model returns NaN, the folder cannot be written, or workers of Ray failed.
    """
    context, out = running(context), Path(out)
    check_choice("runner", runner, ("here", "ray"))
    if runner == "ray":
        import_ray()
        shard_size = shard_size or SHARD
    elif workers is not None:
        raise RequestError("`workers` are those of `runner=ray`")
    for name, value in (("shard_size", shard_size), ("workers", workers)):
        if value is not None:
            check_range(name, value, 1)
    asked: dict[str, Any] = {"data": data, "root": root, "protocol": protocol, "queries": queries}
    device = str(context.device)
    opened = open_for_encoding(str(model), **asked, device=device, context=context)
    asked |= {"model": str(model), "device": device.partition(":")[0]}  # a worker's GPU is the first that it sees
    loaded, card, facts = opened.model, opened.card, []
    encoders: AbstractContextManager[Callable[..., Iterator[Shard]]] = nullcontext(partial(encode_shards, loaded))
    if runner == "ray":
        encoders = RayEncoders(asked, loaded.digest, workers)
    with encoders as make:
        for part in (opened.part("query"), opened.part("database")):
            if shard_size is None:
                bank = encode(loaded, part, batch_size=batch_size, context=context)
            else:
                shards = shards_of(part, shard_size, loaded.digest, out)
                bank = _sharded(shards, make, loaded.digest, batch_size, context)
            path = out / f"{part.role}.npz"
            bank.save(path)
            held = {
                "file": str(path),
                "role": part.role,
                "count": len(bank),
                "bits": bank.bits,
                "bytes": bank.packed.nbytes,
            }
            facts.append({**held, "digest": bank.digest, "model": bank.model_hash, "split": bank.split_hash})
    write_origin(out, origin_of(str(model), card, data, root, protocol, everything=False))
    return Banks(tuple(facts), notes_of(loaded), opened.data.dataset.unread)


def _sharded(
    shards: Sequence[Shard], make: Callable[..., Iterator[Shard]], model_hash: str, batch_size: int, context: Context
) -> CodeBank:
    """The bank of a part whose shards are kept; those that an earlier run kept are read, the others made."""
    missing = [shard for shard in shards if context.restart or shard.read(model_hash) is None]
    if len(missing) < len(shards):
        context.tell(
            f"{len(shards) - len(missing):,} of {len(shards):,} {shards[0].part.role} shards are there already"
        )
    count, whole = 0, sum(map(len, missing))
    with context.stage(f"encoding {shards[0].part.role} pictures") as progress:
        for shard in make(missing, batch_size=batch_size, context=context) if missing else ():
            count += len(shard)
            progress(count / whole, f"{count:,} of {whole:,} pictures")
    banks = [shard.read(model_hash) for shard in shards]
    lost = next((shard.path for shard, bank in zip(shards, banks, strict=True) if bank is None), None)
    if lost is not None:
        raise RunError(f"{lost} was changed while the others were made")
    return joined([bank for bank in banks if bank is not None])
