"""hamguard: the robustness workbench for hash-based image retrieval.

What a person calls in Python is listed in `__all__` and is read with `import hamguard as hg`; everything else may change. Each name
is loaded when it is first asked for, so that the import itself takes no time.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = [
    "L0",
    "L1",
    "L2",
    "Attack",
    "Budget",
    "CodeBank",
    "Context",
    "Data",
    "Defense",
    "DefenseSettings",
    "ForeignModel",
    "HamguardError",
    "HashModel",
    "Linf",
    "Objective",
    "ProtectImages",
    "Rows",
    "Settings",
    "Threat",
    "__version__",
    "add_paper",
    "attack",
    "attacks",
    "audit",
    "codes",
    "data",
    "dedupe",
    "demo",
    "detect",
    "encode",
    "engine_check",
    "evaluate",
    "features",
    "gate",
    "harden",
    "index",
    "load",
    "measure",
    "metrics",
    "models",
    "panel",
    "privacy",
    "protect",
    "protect_image",
    "purify",
    "read_rows",
    "register_attack",
    "register_check",
    "register_defense",
    "register_guide",
    "register_loss",
    "register_measure",
    "register_objective",
    "register_source",
    "report",
    "reproduce",
    "sanity",
    "search",
    "study",
    "threshold",
    "train",
    "transfer",
    "verify",
    "wrap",
]

if TYPE_CHECKING:
    from hamguard import attacks
    from hamguard.api import metrics
    from hamguard.api.asgi import ProtectImages
    from hamguard.api.attack import attack
    from hamguard.api.audit import audit
    from hamguard.api.codes import codes
    from hamguard.api.data import data
    from hamguard.api.dedupe import dedupe
    from hamguard.api.defense import detect, purify, sanity
    from hamguard.api.demo import demo
    from hamguard.api.encode import encode
    from hamguard.api.engine import engine_check
    from hamguard.api.evaluate import evaluate
    from hamguard.api.features import features
    from hamguard.api.gate import gate
    from hamguard.api.harden import harden
    from hamguard.api.index import index
    from hamguard.api.measure import measure
    from hamguard.api.models import models
    from hamguard.api.panel import panel
    from hamguard.api.privacy import privacy
    from hamguard.api.protect import protect
    from hamguard.api.report import report
    from hamguard.api.reproduce import reproduce
    from hamguard.api.results import Rows, read_rows
    from hamguard.api.search import search
    from hamguard.api.serving import protect_image
    from hamguard.api.study import study
    from hamguard.api.threshold import threshold
    from hamguard.api.train import train
    from hamguard.api.transfer import transfer
    from hamguard.api.verify import verify
    from hamguard.api.wrap import load, wrap
    from hamguard.attacks.attack import Attack
    from hamguard.attacks.budget import Budget
    from hamguard.attacks.guides.registry import register_guide
    from hamguard.attacks.losses.registry import register_loss
    from hamguard.attacks.methods.registry import register as register_attack
    from hamguard.attacks.threat import L0, L1, L2, Linf, Threat
    from hamguard.codes.bank import CodeBank
    from hamguard.core.context import Context
    from hamguard.core.errors import HamguardError
    from hamguard.core.papers import add_paper
    from hamguard.data.opened import Data
    from hamguard.data.registry import source as register_source
    from hamguard.defenses.registry import register as register_defense
    from hamguard.defenses.settings import DefenseSettings
    from hamguard.defenses.task import Defense
    from hamguard.evaluation.audit.checks.check import register as register_check
    from hamguard.evaluation.measures.registry import register as register_measure
    from hamguard.hashing.objective import Objective, Settings
    from hamguard.hashing.registry import register as register_objective
    from hamguard.models.foreign import ForeignModel
    from hamguard.models.hash_model import HashModel

_PLACES = {
    "Attack": "attacks.attack:Attack",
    "Budget": "attacks.budget:Budget",
    "CodeBank": "codes.bank:CodeBank",
    "Context": "core.context:Context",
    "Data": "data.opened:Data",
    "Defense": "defenses.task:Defense",
    "DefenseSettings": "defenses.settings:DefenseSettings",
    "ForeignModel": "models.foreign:ForeignModel",
    "HamguardError": "core.errors:HamguardError",
    "HashModel": "models.hash_model:HashModel",
    "L0": "attacks.threat:L0",
    "L1": "attacks.threat:L1",
    "L2": "attacks.threat:L2",
    "Linf": "attacks.threat:Linf",
    "Objective": "hashing.objective:Objective",
    "ProtectImages": "api.asgi:ProtectImages",
    "Rows": "api.results:Rows",
    "Settings": "hashing.objective:Settings",
    "Threat": "attacks.threat:Threat",
    "add_paper": "core.papers:add_paper",
    "attack": "api.attack:attack",
    "attacks": "attacks",
    "audit": "api.audit:audit",
    "codes": "codes",
    "data": "data",
    "dedupe": "api.dedupe:dedupe",
    "demo": "api.demo:demo",
    "detect": "api.defense:detect",
    "encode": "api.encode:encode",
    "engine_check": "api.engine:engine_check",
    "evaluate": "api.evaluate:evaluate",
    "features": "api.features:features",
    "gate": "api.gate:gate",
    "harden": "api.harden:harden",
    "index": "api.index:index",
    "load": "api.wrap:load",
    "measure": "api.measure:measure",
    "metrics": "api.metrics",
    "models": "models",
    "panel": "api.panel:panel",
    "privacy": "privacy",
    "protect": "api.protect:protect",
    "protect_image": "api.serving:protect_image",
    "purify": "api.defense:purify",
    "read_rows": "api.results:read_rows",
    "register_attack": "attacks.methods.registry:register",
    "register_check": "evaluation.audit.checks.check:register",
    "register_defense": "defenses.registry:register",
    "register_guide": "attacks.guides.registry:register_guide",
    "register_loss": "attacks.losses.registry:register_loss",
    "register_measure": "evaluation.measures.registry:register",
    "register_objective": "hashing.registry:register",
    "register_source": "data.registry:source",
    "report": "report",
    "reproduce": "api.reproduce:reproduce",
    "sanity": "api.defense:sanity",
    "search": "api.search:search",
    "study": "api.study:study",
    "threshold": "api.threshold:threshold",
    "train": "api.train:train",
    "transfer": "api.transfer:transfer",
    "verify": "api.verify:verify",
    "wrap": "api.wrap:wrap",
}
"""Where each name of the door stands: a module, or `module:name`."""

_CALLED = ("codes", "data", "models", "privacy", "report")
"""Packages whose name is a function of the door, too: `hg.data("digits")` opens data, `hamguard.data.split` is a module."""


class _CalledModule(ModuleType):
    """A package that is called: the function of the same name in `hamguard.api`."""

    def __call__(self, *args: Any, **rest: Any) -> Any:
        return self.__wrapped__(*args, **rest)

    @property
    def __wrapped__(self) -> Any:  # what signatures and help are read from
        name = self.__name__.rpartition(".")[2]
        return getattr(import_module(f"hamguard.api.{name}"), name)


for _name in _CALLED:  # a docstring each, nothing heavy
    import_module(f"hamguard.{_name}").__class__ = _CalledModule

if not TYPE_CHECKING:  # type checkers read the imports above, and know which names there are not

    def __getattr__(name: str) -> Any:
        if name not in _PLACES:
            raise AttributeError(f"module 'hamguard' has no attribute {name!r}")
        place, _, attribute = _PLACES[name].partition(":")
        found = import_module(f"hamguard.{place}")
        found = getattr(found, attribute) if attribute else found
        setattr(sys.modules[__name__], name, found)
        return found

    def __dir__() -> list[str]:
        return sorted(__all__)
