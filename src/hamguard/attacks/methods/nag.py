"""NAG: approach the code of one picture of the target label, seen plainly and through fresh noise, so that the result transfers.

Paper: Y. Xiao, C. Wang, "You See What I Want You to See: Exploring Targeted Black-Box Transferability Attack for Hash-based Image
Retrieval Systems", CVPR 2021. It lowers `|u(x') - c|_1 + lambda |u(x' + n) - c|_1`; since c is -1 or +1 and u lies between,
`|u - c| = 1 - u c`, so our inner product has the same gradient up to a factor.

Where paper, code and ours differ:

* Noise. The code's command line has 32 gray levels and divides by 255; its inner function has 16 and does not divide, which would
  drown a picture in [0, 1]. We take 32 / 255. The code has clipped Gaussian noise, too; ours is uniform and keeps pixels in [0, 1].
* Budget. Paper: 32/255 by 32 steps of 1/255 (`preset="paper"`). Default: 8/255 as our other methods, 50 steps of 1/255, which are
  100 gradients.
* Guide. The paper pairs pictures whose codes are 12 to 18 of 48 bits apart; we draw a reference code with exactly the target label.
* Input diversity (optional in the code, probability 0.5) stands here in the place of the plain view; that is our reading.
* All keep the last iterate and stop at nothing: the bits of the model at hand say little about those of another.
"""

from __future__ import annotations

from typing import Literal

from hamguard.attacks.attack import Attack
from hamguard.attacks.guides.vote import AnchorCode
from hamguard.attacks.losses.inner import inner_product
from hamguard.attacks.methods.registry import register
from hamguard.attacks.search.signs import SignSteps
from hamguard.attacks.search.views import Diverse, Noisy, Plain, View
from hamguard.attacks.threat import Linf, Threat
from hamguard.core.checks import check_choice


@register("nag", direction="toward")
def nag(
    *,
    steps: int | None = None,
    weight: float = 1.0,
    radius: float = 32 / 255,
    momentum: float = 0.0,
    diverse: bool = False,
    preset: Literal["default", "paper"] = "default",
    threat: Threat | None = None,
) -> Attack:
    """NAG: approach the code of one picture of the target label, seen plainly and through noise.

    Args:
        steps: number of steps, two gradients each; 50, or 32 for the preset.
        weight: lambda, of the noisy view.
        radius: of the noise, in pixel units.
        momentum: decay of the accumulated gradient, 0 for none.
        diverse: the first view is shrunk at random (DI-FGSM).
        preset: `default` or `paper`.
        threat: the allowed set; 8/255, or 32/255 for the preset.

    Raises:
        RequestError: unknown preset, or a value out of its range.
    """
    check_choice("preset", preset, ("default", "paper"))
    paper = preset == "paper"
    first: View = Diverse() if diverse else Plain()
    search = SignSteps(
        (32 if paper else 50) if steps is None else steps,
        1 / 255,
        momentum=momentum,
        keep="last",
        views=(first, Noisy(radius, weight)),
    )
    ball = threat or Linf((32 if paper else 8) / 255)
    return Attack(AnchorCode(n=1), inner_product, search, ball, toward=True)
