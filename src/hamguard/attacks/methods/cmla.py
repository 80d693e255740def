"""CMLA: break the search across modalities and leave the search within the own one alone.

Paper: C. Li, S. Gao, C. Deng, D. Xie, W. Liu, "Cross-Modal Learning with Adversarial Samples", NeurIPS 2019; official code
ChaoLi1991/CMLA; slides of C. Deng. For a picture (a text alike) with relaxed code `h` of the attacked input, codes `H^t`, `H^v` of
clean pairs and their similarity S:

`J = mean_j [softplus(G_j) - (1 - S_j) G_j] + w mean|d| + intra mean_j [softplus(Q_j) - S_j Q_j]`, `G = h H^t / 2`, `Q = h H^v / 2`

is lowered from d = 0, rate 0.5/255 (0.002 for texts), 500 steps, the last point kept; `mean|d|` of pictures on the scale of 255.

There are two forms, and the paper's claims are judged on the first:

* **The published form**, `preset="paper"`: plain Adam, w = 1 throughout, the one-sided clip of the code, d in [0, 10/255] (texts
  [0, 0.01]), pairs inside the batch (128 in the code: `--batch-size 128`). `preset="code"` does not halve the inner products,
  besides. Once a code has turned, `mean|d|` draws d back, so that in the paper's table D falls with the steps.
* **Our form**, `preset="default"`: AMSGrad, a w that grows from 0.03 to 0.135 over 500 steps, the clip on both sides at the same
  size, and the pairs of the training part, so that a result does not depend on which pictures share a batch. It is no published
  attack. A w that grows makes D fall by construction, so what it shows of D over the steps says nothing of the paper. It is the
  stronger attack on nets that learned from scratch, where w = 1 outweighs the slope of saturated codes and d hardly leaves 0
  (product photos, DCMH: image->text MAP .689 to .539 with 1, to .445 with 0.1; 100 steps, validation pictures).

In both, a value that reaches 1 stops there; in the code d goes on and only the sum is clipped.

Not rebuilt, because they are defects: attacked pictures kept as JPEG; pictures in directory order beside texts and labels in index
order; an index that covers two thirds of the enlarged training set; a text discriminator that never learns; D of texts summed
over the batch. The slides print squared terms, which `squared=true` takes; the code has none.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from hamguard.attacks.attack import Attack
from hamguard.attacks.guides.pairs import CrossCodes
from hamguard.attacks.losses.cmla import CmlaLoss
from hamguard.attacks.methods.registry import register
from hamguard.attacks.search.gradient_descent import GradientSteps
from hamguard.attacks.threat import Linf, Threat
from hamguard.attacks.words import WordEdits
from hamguard.core.checks import check_choice, check_range

STEPS = 500
IMAGE_RATE, TEXT_RATE = 0.5 / 255, 0.002  # of Adam
TEXT_EPS = 0.01  # on the scale of the bag of words
LEVELS = 255.0  # the norm term of pictures is taken on the scale 0 to 255
NORM, GROWTH = 0.03, 0.007  # weight of the norm term, and what is added to it with every step, relative


def _cmla(
    steps: int | None,
    intra: float,
    norm: float | None,
    squared: bool,
    preset: str,
    threat: Threat,
    rate: float,
    scale: float,
    rounding: bool,
) -> Attack:
    check_choice("preset", preset, ("default", "paper", "code"))
    published = preset != "default"
    weight = (1.0 if published else NORM) if norm is None else check_range("norm", norm, 0.0)
    loss = CmlaLoss(intra, halved=preset != "code", squared=squared)
    search = GradientSteps(
        "adam" if published else "amsgrad", rate, STEPS if steps is None else steps, alpha="constant", keep="last"
    )
    return Attack(
        CrossCodes("batch" if published else "train"),
        loss,
        search,
        replace(threat, one_sided=True) if published else threat,
        fidelity=scale * weight,
        fidelity_norm="l1",
        fidelity_growth=0.0 if published else GROWTH,
        rounding=rounding,
    )


@register("cmla", direction="away")
def cmla(
    *,
    steps: int | None = None,
    intra: float = 1.0,
    norm: float | None = None,
    squared: bool = False,
    preset: Literal["default", "paper", "code"] = "default",
    threat: Threat = Linf(10 / 255),
) -> Attack:
    """CMLA: break the search for texts, keep the search for pictures.

    Args:
        steps: number of gradients; 500.
        intra: weight of the term that keeps the search within the own modality.
        norm: weight of the norm term at the start; 0.03, or the published 1 for the presets.
        squared: the slides' squared terms.
        preset: `default`, `paper` or `code`.
        threat: the allowed set; 10/255 is the published clip.

    Raises:
        RequestError: unknown preset.
    """
    return _cmla(steps, intra, norm, squared, preset, threat, IMAGE_RATE, LEVELS, True)


def cmla_text(
    *,
    steps: int | None = None,
    intra: float = 1.0,
    norm: float | None = None,
    squared: bool = False,
    preset: Literal["default", "paper", "code"] = "default",
    threat: Threat = Linf(TEXT_EPS),
) -> Attack:
    """CMLA on bags of words `(B, D)` in [0, 1]: values between 0 and 1 that no text has; `cmla_words` changes words.

    Args:
        steps: number of gradients; 500.
        intra: weight of the term that keeps the search within the own modality.
        norm: weight of the norm term at the start; 0.03, or the published 1 for the presets.
        squared: the slides' squared terms.
        preset: `default`, `paper` or `code`.
        threat: the allowed set, on the scale of the bag; 0.01 is the published clip.

    Raises:
        RequestError: unknown preset.
    """
    made = _cmla(steps, intra, norm, squared, preset, threat, TEXT_RATE, 1.0, False)
    return replace(made, modality="text", name="cmla", preset=preset)


def cmla_words(*, most: int = 2, candidates: int = 16, intra: float = 1.0, squared: bool = False) -> Attack:
    """CMLA's loss on texts that a person could type: whole words are added or dropped, greedily (ours, no paper).

    Args:
        most: edits a text.
        candidates: edits that are tried exactly in each round.
        intra: weight of the term that keeps the search within the own modality.
        squared: the slides' squared terms.

    Raises:
        RequestError: `most` or `candidates` below 1, or `intra` below 0.
    """
    loss, search = CmlaLoss(intra, squared=squared), WordEdits(most, candidates)
    return Attack(CrossCodes(), loss, search, Linf(1.0), rounding=False, modality="text", name="cmla-words")
