"""Gradient steps on one picture's noise against several matchers: each picture leaves itself in all of them.

Ours, of published parts: momentum (MI-FGSM, Y. Dong et al., CVPR 2018; here as in Adam, so that noise may also fade), random
sizes and parts (DI-FGSM, C. Xie et al., CVPR 2019), views of what becomes of a published file, an ensemble whose members take
turns, and middle layers, which networks share (FIA, Z. Wang et al., ICCV 2021; here their statistics, `models/stages.py`). One
step lowers, for the matcher whose turn it is, with outputs f (centred by a fitted head: an ITQ head has the leading principal
components of the network's features) and statistics g_s of its stages, where it is known how they are distributed over photos,

    cos(f(v(x + n)), f(x)) + mean_s cos(g_s(v(x + n)), g_s(x)) + lambda (1 - SSIM(x, x + n)).

Gradients count by their direction, so that no matcher outweighs another, whatever its bits and the size of its outputs. lambda
rises while a picture looks less alike than asked and falls again, for each picture. A picture is left early that no matcher knows
any more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from hamguard.attacks.search.file_views import Cropped, InTurn, Jpeg
from hamguard.attacks.search.signs import mean_size
from hamguard.attacks.search.views import Plain, View
from hamguard.attacks.threat import Linf
from hamguard.core.checks import check_range
from hamguard.core.errors import RequestError, RunError
from hamguard.core.seeds import derive_seed, torch_generator
from hamguard.images.distortion import SMALLEST
from hamguard.images.likeness import similarity
from hamguard.models.contrast import room
from hamguard.models.trial import NO_GRADIENT, gradient_kind, pixel_gradient, with_gradient
from hamguard.privacy.matchers import Matcher

VIEWS: View = InTurn((Jpeg(60, 95), Plain(), Cropped(0.7)))
CANDIDATES = 3
"""The last points of the way, among which the best is kept; each costs a forward pass a matcher."""
SIZES = (0.4, 1.15)
"""Sides that a matcher sees, in units of its own; small ones ask for noise in slow waves, which survives shrinking."""
FIRST, LEAST, MOST = 1.0, 0.02, 20.0
"""The multiplier at the beginning, and its range."""
RISE = 8.0  # of its logarithm, for each unit of SSIM
MEMORY, SQUARES = 0.9, 0.99  # Adam's
START = 0.5  # of the noise that is added at the beginning, in units of the bound
LOOK, LOST = 20, -0.3
"""Steps between looks whether a picture may be left: when no matcher has this much more right than wrong bits of it."""
UNLIKE = 10.0  # weight of missing likeness when points are compared


@dataclass(frozen=True)
class Refine:
    """The steps.

    Attributes:
        matchers: to be left, all on one device; they take turns.
        steps: gradients a picture, at least 1.
        eps: bound in pixel units, in (0, 1].
        seed: of the views.
        alike: SSIM that the pictures shall have, in [0, 1]; 0 for any.
        even: bound on even grounds, in pixel units, in (0, 1], see `models/contrast.py`; from `eps` on there is no other.
        view: what the matchers see at each step.
        rate: mean size of a step in units of `eps`.
        fresh: whether the steps begin at pictures themselves, not at the generator's noise.

    Raises:
        RequestError: no matcher, one without a gradient, fewer than 1 step, `alike` outside [0, 1], or `eps` or `even` outside
            (0, 1].
    """

    matchers: tuple[Matcher, ...]
    steps: int
    eps: float
    seed: int = 0
    alike: float = 0.905
    even: float = 1.0
    view: View = field(default=VIEWS)
    rate: float = 0.1
    fresh: bool = False

    def __post_init__(self) -> None:
        if not self.matchers:
            raise RequestError("refining needs at least one matcher; give `matchers=MODEL`")
        check_range("refine", self.steps, 1)
        check_range("alike", self.alike, 0.0, 1.0)
        check_range("even", self.even, 1e-6, 1.0)
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
            Of the start and the last points the pattern whose picture, rounded to 8 bits, agrees least with the original in the
            matcher that knows it best, among those that look alike enough; the same shape in [-1, 1].

        Raises:
            RunError: a matcher's outputs or gradients are not finite.
        """
        if len(x) > 1 and x.device.type == "cpu":  # as fast there, and rounding does not depend on the batch
            alone = [slice(n, n + 1) for n in range(len(x))]
            return torch.cat([self(x[n], pattern[n], index[n], None if opaque is None else opaque[n]) for n in alone])
        part = room(x, self.eps, self.even)  # of the bound, which the pattern that comes and goes has taken already
        reach = self.eps * part if opaque is None else self.eps * part * opaque
        pattern = (pattern / part).clamp(-1, 1)
        own = [_outputs(matcher, x) for matcher in self.matchers]
        best, least = pattern.clone(), self._score(x, pattern, reach, own)
        # the cosine has no slope at the original itself
        pattern = (pattern + START * self._noise(pattern, index)).clamp(-1, 1)
        memory, squares = torch.zeros_like(pattern), torch.zeros_like(pattern)
        lam = pattern.new_full((len(x), 1, 1, 1), FIRST)
        for step in range(self.steps):
            # 1. away from the originals, in the matcher whose turn it is, through what becomes of a file
            at = (x + reach * pattern).clamp(0, 1)
            gradient = self._leaving(at, own, index, step)
            # 2. toward likeness, at the price of this picture
            if self.alike and min(x.shape[2:]) >= SMALLEST:
                looks, toward = _likeness(at, x)
                lam = (lam * torch.exp(RISE * (self.alike - looks)).view(-1, 1, 1, 1)).clamp(LEAST, MOST)
                gradient = gradient + lam * toward
            # 3. the step, Adam's, along a cosine that falls to zero
            memory = MEMORY * memory + (1 - MEMORY) * gradient
            squares = SQUARES * squares + (1 - SQUARES) * gradient.square()
            move = memory / (1 - MEMORY ** (step + 1)) / ((squares / (1 - SQUARES ** (step + 1))).sqrt() + 1e-8)
            pattern = (pattern - self._length(step) * move).clamp(-1, 1)
            # 4. among the last points the best is kept; a picture that nobody knows any more is left
            last = step >= self.steps - CANDIDATES
            if last or (step % LOOK == LOOK - 1):
                score = self._score(x, pattern, reach, own)
                better = score < least
                best[better], least = pattern[better], torch.minimum(least, score)
                if bool((least < LOST).all()):
                    break
        return best * part

    def _noise(self, pattern: Tensor, index: Sequence[int]) -> Tensor:
        """Uniform noise in [-1, 1] of each picture's own, `(B, C, H, W)`."""
        draws = [torch.rand(pattern.shape[1:], generator=torch_generator(self.seed, "refine-start", i)) for i in index]
        return 2 * torch.stack(draws).to(pattern) - 1

    def _length(self, step: int) -> float:
        """Length of a step in units of `eps`; its mean is `rate`, along a cosine that falls to zero."""
        return self.rate * (1 + math.cos(math.pi * (step + 0.5) / self.steps))

    def _leaving(self, at: Tensor, own: Sequence[list[Tensor]], index: Sequence[int], step: int) -> Tensor:
        """Where the cosine rises for the matcher whose turn it is, `(B, C, H, W)` of mean size 1."""
        turn, number = divmod(step, len(self.matchers))
        matcher = self.matchers[number]
        draw = torch_generator(self.seed, "refine", step)
        scale = SIZES[0] + (SIZES[1] - SIZES[0]) * float(torch.rand(1, generator=draw))
        mirrored = float(torch.rand(1, generator=draw)) < 0.5
        at = at.detach().requires_grad_()
        with torch.enable_grad():
            seen = self.view(at, index, turn, derive_seed(self.seed, "refine"))
            seen = seen.flip(3) if mirrored else seen
            outputs, *stages = matcher.seen(seen, scale)
            cosine = F.cosine_similarity(with_gradient(outputs, f"matcher {matcher.name}"), own[number][0])  # (B,)
            for found, clean in zip(stages, own[number][1:], strict=True):
                cosine = cosine + F.cosine_similarity(found, clean) / len(stages)
            gradient = pixel_gradient(cosine.sum(), at, f"matcher {matcher.name}")
        if not bool(gradient.sum().isfinite()):
            raise RunError(f"the gradient of matcher {matcher.name} is NaN or infinite; its weights are broken")
        return gradient / mean_size(gradient)

    @torch.no_grad()
    def _score(self, x: Tensor, pattern: Tensor, reach: float | Tensor, own: Sequence[list[Tensor]]) -> Tensor:
        """Share of right bits less wrong ones in the matcher that knows the rounded picture best, `(B,)` in [-1, 1].

        Likeness that is missing makes it worse.
        """
        z = Linf(self.eps).on_grid(x + reach * pattern, x)
        each = [
            (torch.where(m.logits(z) < 0, -1.0, 1.0) * torch.where(clean[0] < 0, -1.0, 1.0)).mean(1)
            for m, clean in zip(self.matchers, own, strict=True)
        ]
        known: Tensor = torch.stack(each).max(0).values  # (M, B) to (B,)
        if self.alike and min(x.shape[2:]) >= SMALLEST:
            known = known + UNLIKE * (self.alike - similarity(z, x)).clamp(min=0)
        return known


def _likeness(at: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """SSIM `(B,)`, and where it falls, `(B, C, H, W)` of mean size 1."""
    at = at.detach().requires_grad_()
    with torch.enable_grad():
        looks = similarity(at, x)
        (gradient,) = torch.autograd.grad(-looks.sum(), at)
    return looks.detach(), gradient / mean_size(gradient)


@torch.no_grad()
def _outputs(matcher: Matcher, x: Tensor) -> list[Tensor]:
    """Outputs `(B, K)` of the pictures themselves, and what the middle layers see of them."""
    z, *stages = matcher.seen(x)
    if z.ndim != 2 or len(z) != len(x) or not bool(z.isfinite().all()):
        raise RunError(f"the outputs of matcher {matcher.name} are NaN or infinite; its weights are broken")
    return [z, *stages]
