"""Every registry of the house: help knows all names without loading what is heavy, and a notebook cell may add to any."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from hamguard.attacks.guides.registry import GUIDES
from hamguard.attacks.losses.registry import LOSSES
from hamguard.attacks.methods.registry import ATTACKS
from hamguard.core.registry import Registry
from hamguard.data.protocols import PROTOCOLS
from hamguard.data.registry import SOURCES
from hamguard.defenses.registry import DEFENSES
from hamguard.evaluation.audit.checks.check import CHECKS
from hamguard.evaluation.measures.registry import MEASURES
from hamguard.evaluation.reproduce.experiment import EXPERIMENTS
from hamguard.hashing.registry import CROSS_METHODS, OBJECTIVES, UNSUPERVISED
from hamguard.models.registry import BACKBONES

REGISTRIES: tuple[Registry[Any], ...] = (
    ATTACKS, GUIDES, LOSSES, OBJECTIVES, CROSS_METHODS, UNSUPERVISED, DEFENSES, MEASURES, SOURCES, PROTOCOLS,
    BACKBONES, EXPERIMENTS, CHECKS,
)  # fmt: skip

LIGHT = """
import sys
from hamguard.attacks.guides.registry import GUIDES
from hamguard.attacks.losses.registry import LOSSES
from hamguard.attacks.methods.registry import ATTACKS
from hamguard.data.registry import SOURCES
from hamguard.defenses.registry import DEFENSES
from hamguard.evaluation.measures.registry import MEASURES
from hamguard.evaluation.reproduce.experiment import EXPERIMENTS
from hamguard.hashing.registry import CROSS_METHODS, OBJECTIVES, UNSUPERVISED
from hamguard.models.registry import BACKBONES
import hamguard.cli.main
for registry in (
    ATTACKS, GUIDES, LOSSES, OBJECTIVES, CROSS_METHODS, UNSUPERVISED, DEFENSES, MEASURES, SOURCES, BACKBONES, EXPERIMENTS
):
    print(*registry.known())
heavy = {'torch', 'torchvision', 'scipy', 'faiss'} & set(sys.modules)
sys.exit(f'imported {heavy}' if heavy else 0)
"""

CELL = """
import torch
from hamguard.attacks.attack import Attack
from hamguard.attacks.guides.registry import GUIDES, register_guide
from hamguard.attacks.losses.registry import LOSSES, register_loss, loss_named
from hamguard.attacks.methods.registry import ATTACKS, method_facts, register as register_attack
from hamguard.defenses.control import Control
from hamguard.defenses.registry import DEFENSES, register as register_defense
from hamguard.evaluation.measures.registry import MEASURES, register as register_measure
from hamguard.hashing.dpsh import DPSH
from hamguard.hashing.registry import OBJECTIVES, register as register_objective
from hamguard.models.registry import BACKBONES, register_backbone

for again in range(2):  # a cell is run as often as one likes

    @register_guide("mine")
    class Mine:
        "The opposite of the own code."
        name, needs_labels = "mine", False
        def __call__(self, own, labels, bank, index, seed):
            return -own

    @register_loss("mine", relaxation="none")
    def mine(u, target, direction):
        return -direction * (u * target).mean(1)

    @register_loss("mine-class")
    class MyLoss:
        def __call__(self, u, target, direction):
            return -direction * (u * target).mean(1)

    @register_attack("mine")
    def my_attack(*, steps: int = 3, toward: bool = False):
        "My attack: as told."
        return Attack(Mine(), mine, toward=toward, relaxation="none")

    @register_objective("mine")
    class MyObjective(DPSH):
        title = "Mine"

    @register_defense("mine")
    class MyDefense(Control):
        title = "Mine"

    @register_measure("mine")
    def my_measure(bench):
        "What I measure."

    @register_backbone("mine")
    def my_net(channels, side):
        return torch.nn.Flatten()

    assert GUIDES["mine"] is Mine and ATTACKS.title("mine") == "My attack: as told"
    assert loss_named("mine") == (mine, "none") and isinstance(loss_named("mine-class")[0], MyLoss)
    assert method_facts("mine").direction == "either" and "steps" in method_facts("mine").options
    assert OBJECTIVES["mine"] is MyObjective and MyObjective.name == "mine" and DEFENSES["mine"].name == "mine"
    assert MEASURES.title("mine") == "What I measure" and BACKBONES["mine"] is my_net
for registry in (ATTACKS, GUIDES, LOSSES, OBJECTIVES, DEFENSES, MEASURES, BACKBONES):
    assert "mine" in registry.known() and registry.known() == registry.names()
print("all entered")
"""


def told(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("registry", REGISTRIES, ids=lambda one: one.kind)
def test_help_knows_every_name(registry: Registry[Any]) -> None:
    assert registry.known() == registry.names() == list(registry) and len(registry) > 1


def test_names_and_the_command_line_are_there_without_what_is_heavy() -> None:
    known = told(LIGHT).splitlines()
    full = [" ".join(one.names()) for one in REGISTRIES if one not in (PROTOCOLS, CHECKS)]
    assert known == full, "also where nothing but the registry was imported"


def test_a_notebook_cell_enters_what_it_defines_and_may_be_run_again() -> None:
    assert told(CELL) == "all entered\n"


@pytest.mark.parametrize("registry", REGISTRIES, ids=lambda one: one.kind)
def test_a_missing_name_is_answered_by_all(registry: Registry[Any]) -> None:
    assert registry.get("nothing of that name") is None
    first = registry.names()[0]
    assert registry.get(first) is registry[first]
