"""Gradient steps on one picture's noise against several matchers: each picture leaves its own code in all of them.

Ours, of published parts: steps of the sign with momentum (MI-FGSM, CVPR 2018), the gradient blurred (TI-FGSM, CVPR 2019), the own
code as guide (HAG, IEEE TCYB 2020), and views of what becomes of a published file. The step falls along a cosine. A matcher's
gradient counts by its direction, so that none outweighs the others, whatever its bits and the size of its outputs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from hamguard.attacks.losses.inner import inner_product
from hamguard.attacks.search.file_views import Cropped, InTurn, Jpeg
from hamguard.attacks.search.signs import mean_size
from hamguard.attacks.search.views import Plain, View, blur
from hamguard.attacks.threat import Linf
from hamguard.codes.binary import relax
from hamguard.core.checks import check_range
from hamguard.core.errors import RequestError, RunError
from hamguard.core.seeds import derive_seed
from hamguard.models.trial import NO_GRADIENT, gradient_kind, pixel_gradient, with_gradient
from hamguard.privacy.matchers import Matcher

VIEWS: View = InTurn((Jpeg(), Plain(), Cropped()))
CANDIDATES = 3
"""The last points of the way, among which the best is kept; each costs a forward pass a matcher."""


@dataclass(frozen=True)
class Refine:
    """The steps.

    Attributes:
        matchers: to be left, all on one device.
        steps: gradients a picture, at least 1.
        eps: bound in pixel units, in (0, 1].
        seed: of the views.
        view: what the matchers see at each step.
        momentum: decay of the accumulated gradient.
        translation: odd size of the kernel that blurs the gradient, 0 for none; noise of low frequency means more to
            matchers that were not asked.
        stride: sum of the steps' sizes in units of `eps`.

    Raises:
        RequestError: no matcher, one without a gradient, fewer than 1 step, or `eps` outside (0, 1].
    """

    matchers: tuple[Matcher, ...]
    steps: int
    eps: float
    seed: int = 0
    view: View = field(default=VIEWS)
    momentum: float = 1.0
    translation: int = 7
    stride: float = 2.5

    def __post_init__(self) -> None:
        if not self.matchers:
            raise RequestError("refining needs at least one matcher; give `matchers=MODEL`")
        check_range("refine", self.steps, 1)
        Linf(self.eps)
        for matcher in self.matchers:
            if gradient_kind(matcher.model) == "none":
                raise RequestError(f"matcher {matcher.name} {NO_GRADIENT}, and refining follows gradients")

    def __call__(self, x: Tensor, pattern: Tensor, index: Sequence[int], opaque: Tensor | None = None) -> Tensor:
        """Better patterns.

        Args:
            x: pictures as a person sees them, `(B, C, H, W)` in [0, 1].
            pattern: where to begin, the same shape in [-1, 1].
            index: a number for each picture, for its random numbers; with it the result does not depend on how batches are cut.
            opaque: how much of the noise is seen, `(B, 1, H, W)` in [0, 1]; None where pictures are not transparent.

        Returns:
            Of the start and the last points the pattern whose picture, rounded to 8 bits, agrees least with the
            original in the matcher that knows it best; the same shape in [-1, 1].

        Raises:
            RunError: a matcher's outputs or gradients are not finite.
        """
        if len(x) > 1 and x.device.type == "cpu":  # as fast there, and rounding does not depend on the batch
            alone = [slice(n, n + 1) for n in range(len(x))]
            return torch.cat([self(x[n], pattern[n], index[n], None if opaque is None else opaque[n]) for n in alone])
        reach = self.eps if opaque is None else self.eps * opaque
        own, size = zip(*(_own_code(matcher, x) for matcher in self.matchers), strict=True)
        best, least = pattern.clone(), self._agreement(x, pattern, reach, own)
        memory = torch.zeros_like(pattern)
        for step in range(self.steps):
            # 1. the gradient at the picture, through what becomes of it as a file
            at = (x + reach * pattern).clamp(0, 1)
            gradient = blur(self._gradient(at, own, size, index, step), self.translation)
            # 2. its memory
            memory = self.momentum * memory + gradient / mean_size(gradient)
            # 3. the step, away from the own codes
            pattern = (pattern + self._length(step) * memory.sign()).clamp(-1, 1)
            # 4. among the last points the best is kept
            if step >= self.steps - CANDIDATES:
                agreement = self._agreement(x, pattern, reach, own)
                better = agreement < least
                best[better], least = pattern[better], torch.minimum(least, agreement)
        return best

    def _length(self, step: int) -> float:
        """Length of a step in units of `eps`; all together are `stride`, along a cosine that falls to zero."""
        return self.stride / self.steps * (1 + math.cos(math.pi * (step + 0.5) / self.steps))

    def _gradient(
        self, at: Tensor, own: Sequence[Tensor], size: Sequence[Tensor], index: Sequence[int], step: int
    ) -> Tensor:
        """Where agreement falls: the sum of the matchers' directions, `(B, C, H, W)`."""
        at = at.detach().requires_grad_()
        with torch.enable_grad():
            seen = self.view(at, index, step, derive_seed(self.seed, "refine"))
            total = torch.zeros_like(seen)
            for matcher, code, usual in zip(self.matchers, own, size, strict=True):
                point = seen.detach().requires_grad_()
                u = relax(with_gradient(matcher.logits(point), f"matcher {matcher.name}") / usual)
                found = pixel_gradient(inner_product(u, code, -1).sum(), point, f"matcher {matcher.name}")
                if not bool(found.sum().isfinite()):
                    raise RunError(f"the gradient of matcher {matcher.name} is NaN or infinite; its weights are broken")
                total += found / mean_size(found)
            (gradient,) = torch.autograd.grad(seen, at, -total) if seen.requires_grad else (-total,)
        return gradient

    @torch.no_grad()
    def _agreement(self, x: Tensor, pattern: Tensor, reach: float | Tensor, own: Sequence[Tensor]) -> Tensor:
        """Share of right bits less wrong ones in the matcher that knows the rounded picture best, `(B,)` in [-1, 1]."""
        z = Linf(self.eps).on_grid(x + reach * pattern, x)
        each = [
            (torch.where(m.logits(z) < 0, -1.0, 1.0) * code).mean(1) for m, code in zip(self.matchers, own, strict=True)
        ]
        return torch.stack(each).max(0).values  # (M, B) to (B,)


@torch.no_grad()
def _own_code(matcher: Matcher, x: Tensor) -> tuple[Tensor, Tensor]:
    """Code `(B, K)` of the pictures themselves, and the usual size `(B, 1)` of their outputs, above 0."""
    z = matcher.logits(x)
    if z.ndim != 2 or len(z) != len(x) or not bool(z.isfinite().all()):
        raise RunError(f"the outputs of matcher {matcher.name} are NaN or infinite; its weights are broken")
    return torch.where(z < 0, -1.0, 1.0), z.abs().mean(1, keepdim=True).clamp(min=1e-12)
