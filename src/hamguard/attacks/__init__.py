"""Attacks on hash models: guide x loss x search x threat, four values that a method file puts together (level 3).

Every method is a function of this package, loaded when it is first asked for: `attacks.hag(steps=50)`. One that is registered in a
notebook is, too. Beside them stand the values that an attack of one's own is put together from.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hamguard.attacks.attack import Attack
    from hamguard.attacks.guides.optimal import OptimalCode
    from hamguard.attacks.guides.own import OwnCode
    from hamguard.attacks.guides.prototype import PrototypeCode
    from hamguard.attacks.guides.relevant import RelevantSet
    from hamguard.attacks.guides.vote import AnchorCode, SignedMean
    from hamguard.attacks.losses.hag import HagLoss
    from hamguard.attacks.losses.inner import cosine, inner_product, logarithm, margin
    from hamguard.attacks.losses.mainstay import MainstayLoss
    from hamguard.attacks.losses.reach import ReachLoss
    from hamguard.attacks.methods.adaptive import adaptive
    from hamguard.attacks.methods.cmla import cmla, cmla_text, cmla_words
    from hamguard.attacks.methods.cw import cw
    from hamguard.attacks.methods.dhta import dhta, p2p
    from hamguard.attacks.methods.hag import hag
    from hamguard.attacks.methods.iterative import fgsm, ifgsm, mifgsm, pgd
    from hamguard.attacks.methods.jsma import jsma
    from hamguard.attacks.methods.mainstay import center, mainstay
    from hamguard.attacks.methods.nag import nag
    from hamguard.attacks.methods.noise import noise
    from hamguard.attacks.methods.prosgan import prosgan
    from hamguard.attacks.methods.sdha import sdha
    from hamguard.attacks.methods.tha import tha
    from hamguard.attacks.methods.universal import universal
    from hamguard.attacks.search.adaptive import AdaptiveSteps
    from hamguard.attacks.search.few_pixels import FewPixels
    from hamguard.attacks.search.gradient_descent import GradientSteps
    from hamguard.attacks.search.least_change import LeastChange
    from hamguard.attacks.search.noise import RandomNoise
    from hamguard.attacks.search.signs import SignSteps

__all__ = [
    "AdaptiveSteps",
    "AnchorCode",
    "Attack",
    "FewPixels",
    "GradientSteps",
    "HagLoss",
    "LeastChange",
    "MainstayLoss",
    "OptimalCode",
    "OwnCode",
    "PrototypeCode",
    "RandomNoise",
    "ReachLoss",
    "RelevantSet",
    "SignSteps",
    "SignedMean",
    "adaptive",
    "center",
    "cmla",
    "cmla_text",
    "cmla_words",
    "cosine",
    "cw",
    "dhta",
    "fgsm",
    "hag",
    "ifgsm",
    "inner_product",
    "jsma",
    "logarithm",
    "mainstay",
    "margin",
    "mifgsm",
    "nag",
    "noise",
    "p2p",
    "pgd",
    "prosgan",
    "sdha",
    "tha",
    "universal",
]

_FILES = {
    "attack": ("Attack",),
    "guides.optimal": ("OptimalCode",),
    "guides.own": ("OwnCode",),
    "guides.prototype": ("PrototypeCode",),
    "guides.relevant": ("RelevantSet",),
    "guides.vote": ("AnchorCode", "SignedMean"),
    "losses.hag": ("HagLoss",),
    "losses.inner": ("cosine", "inner_product", "logarithm", "margin"),
    "losses.mainstay": ("MainstayLoss",),
    "losses.reach": ("ReachLoss",),
    "methods.adaptive": ("adaptive",),
    "methods.cmla": ("cmla", "cmla_text", "cmla_words"),
    "methods.cw": ("cw",),
    "methods.dhta": ("dhta", "p2p"),
    "methods.hag": ("hag",),
    "methods.iterative": ("fgsm", "ifgsm", "mifgsm", "pgd"),
    "methods.jsma": ("jsma",),
    "methods.mainstay": ("center", "mainstay"),
    "methods.nag": ("nag",),
    "methods.noise": ("noise",),
    "methods.prosgan": ("prosgan",),
    "methods.sdha": ("sdha",),
    "methods.tha": ("tha",),
    "methods.universal": ("universal",),
    "search.adaptive": ("AdaptiveSteps",),
    "search.few_pixels": ("FewPixels",),
    "search.gradient_descent": ("GradientSteps",),
    "search.least_change": ("LeastChange",),
    "search.noise": ("RandomNoise",),
    "search.signs": ("SignSteps",),
}
_PLACES = {name: file for file, names in _FILES.items() for name in names}

if not TYPE_CHECKING:  # type checkers read the imports above

    def __getattr__(name: str) -> Any:
        if name in _PLACES:
            return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
        registry = sys.modules.get(f"{__name__}.methods.registry")  # whoever registered a method has loaded it
        if registry is not None and name in getattr(registry, "ATTACKS", ()):
            return registry.ATTACKS[name]
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
