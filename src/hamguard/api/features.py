"""Images to features, in a file that hash codes are learned on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hamguard.api.arguments import checked
from hamguard.api.running import running
from hamguard.core.checks import check_choice
from hamguard.core.context import Context
from hamguard.core.errors import RequestError
from hamguard.core.files import check_writable
from hamguard.data.features import write_features
from hamguard.data.opened import Data
from hamguard.data.texts import texts_of
from hamguard.evaluation.encoder import encoded_by
from hamguard.evaluation.ground import Loaded
from hamguard.evaluation.model_data import open_for_model
from hamguard.models.hash_model import takes_features
from hamguard.models.minilm import sentence_vectors
from hamguard.models.store import AnyModel

__all__ = ["FeatureFile", "features"]


@dataclass(frozen=True)
class FeatureFile:
    """A file of features that was written.

    Attributes:
        path: the file; `features:PATH` is its source.
        count: images.
        features: numbers of each, D.
        notes: what a reader of figures on these data must be told.
        labeled: whether any image has a label, which most hash methods need.
    """

    path: Path
    count: int
    features: int
    notes: tuple[str, ...] = ()
    labeled: bool = True


@checked
def features(
    model: AnyModel | str | Path,
    data: Data | str | None = None,
    *,
    out: Path | str,
    text_encoder: str | None = None,
    protocol: str | None = None,
    root: Path | str | None = None,
    context: Context | None = None,
) -> FeatureFile:
    """Write what a network makes of images: `hg.features("models/mine", "coco18", out="coco18.npz")`.

    The file is a source, `hg.data("features:coco18.npz")`, on which hash codes are learned in seconds. Features of the backbone
    of a hash model are kept in the cache as well, so that what was stopped goes on, and no image is encoded twice.

    Args:
        model: a trained or loaded hash model, of which the backbone counts; or a foreign network, whose outputs are the features.
        data: what `hg.data` gave, or a source; None for what the model was trained on.
        out: file to write, `.npz`.
        text_encoder: `minilm`, for features of the texts beside those of the images; None for the texts alone, where there are any.
        protocol: named split of a source; None for the model's own.
        root: folder of the named data sets.
        context: where to compute, how progress is shown.

    Raises:
        RequestError: no such model or data, images that do not fit the model, a name of another type, or no texts to encode.
        RunError: the network returns NaN, or the file cannot be written.
    """
    context, out = running(context, model), Path(out)
    if out.suffix != ".npz":
        raise RequestError(f"features are written to an .npz file, got {out}")
    check_writable(out)
    if text_encoder is not None:
        check_choice("text encoder", text_encoder, ("minilm",))
    loaded = Loaded.open(model, device=context.device)
    if takes_features(loaded.model):
        raise RequestError(f"{loaded.name} learned on features; give the network that made them")
    if not isinstance(data, Data):
        data = open_for_model(loaded.card, loaded.model, data, root=root, protocol=protocol, context=context)
    of_texts = None if text_encoder is None else sentence_vectors(texts_of(data.dataset)).numpy()
    found = encoded_by(loaded, data, context)
    write_features(out, found.numpy(), data.dataset, data.split, text_features=of_texts)
    return FeatureFile(out, len(found), found.shape[1], data.dataset.notes, bool(data.dataset.labels.any()))
