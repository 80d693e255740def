"""Write the cards of methods, attacks, defenses and PPL, and the index of all pages, in `docs/` from the code.

    uv run python tools/build_cards.py [FOLDER]

A test compares them with what lies there. With `HAMGUARD_PLUGINS=module` the methods of the plugin have cards, too; give a FOLDER
then, which leaves those of the documentation alone.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from index_page import (
    DIRECTIONS,
    any_guide,
    attack_table,
    cell,
    cross_method_table,
    defense_table,
    guide_table,
    index,
    method_table,
)
from pydantic.fields import FieldInfo

from hamguard.attacks import words
from hamguard.attacks.guides.pairs import CrossCodes
from hamguard.attacks.methods.cmla import cmla_text, cmla_words
from hamguard.attacks.methods.registry import ATTACKS, method_facts
from hamguard.attacks.threat import Threat
from hamguard.core.papers import papers_of
from hamguard.defenses import cross_modal, task
from hamguard.defenses.cross_modal import CROSS_DEFENSES, CrossDefenseSettings
from hamguard.defenses.registry import DEFENSES
from hamguard.evaluation.attack.spec import FLAGS, describe
from hamguard.hashing.objective import CrossSettings, Objective
from hamguard.hashing.registry import CROSS_METHODS, OBJECTIVES
from hamguard.privacy import ppl, smmd
from hamguard.trainers.generator import GeneratorSettings
from hamguard.trainers.hardened import epoch_cost
from hamguard.trainers.job import Job
from hamguard.trainers.protector import ProtectorSettings
from hamguard.trainers.words import read_job
from hamguard.training.recipe import Recipe

FOLDER = Path(__file__).parent.parent / "docs"


def card(kind: type[Objective]) -> str:
    """The card of one hash method: what its file says, its settings, its presets, its training defaults."""
    return method_card(kind.name, kind.title, kind, kind.settings_type.model_fields, data="digits")


def cross_card(kind: type[CrossSettings]) -> str:
    """The same of a method for pictures and texts."""
    return method_card(kind.name, kind.title, kind, kind.model_fields, data="scenes")


def cite_lines(*names: str) -> list[str]:
    """What is to be cited for a method, `KIND:NAME`; nothing where it has no paper."""
    entries = "\n\n".join(paper.bibtex for paper in papers_of(names))
    return ["## Cite", "", "```bibtex", entries, "```", ""] if entries else []


def method_card(name: str, title: str, kind: Any, known: Mapping[str, FieldInfo], *, data: str) -> str:
    """The card of a class with presets and training defaults.

    Args:
        name: of the method.
        title: its paper.
        kind: where `presets` and `training` are.
        known: its settings.
        data: a source that the example trains on.
    """
    module = inspect.getdoc(inspect.getmodule(kind)) or ""
    lines = [
        f"# {name}: {title}",
        "",
        module,
        "",
        "## Settings",
        "",
        "| setting | default | meaning |",
        "|---|---|---|",
    ]
    for key, field in known.items():
        lines.append(f"| `{key}` | {cell(field.default)} | {cell(field.description or '')} |")
    if kind.presets:
        lines += [
            "",
            "## Presets",
            "",
            "`--preset NAME` takes the printed form; what is not listed keeps its default.",
            "",
        ]
        for preset, values in kind.presets.items():
            trained = kind.preset_training.get(preset, {})
            listed = ", ".join(f"{key} = {value}" for key, value in {**values, **trained}.items())
            lines.append(f"* `{preset}`: {listed}")
    lines += ["", "## Training defaults", "", "What differs from the common recipe:", ""]
    common = Recipe()
    for key, value in kind.training.items():
        if value != getattr(common, key):
            lines.append(f"* `{key}` = {value} (common: {getattr(common, key)})")
    alone = getattr(kind, "frozen", {})  # of methods for pictures alone
    usual = {**common.model_dump(), **kind.training, **{key: field.default for key, field in known.items()}}
    for part, when in (("settings", "with `--freeze`"), ("training", "where the head learns alone, `--freeze`")):
        for key, value in alone.get(part, {}).items():
            lines.append(f"* `{key}` = {value} {when} (else {usual[key]})")
    lines += [
        "",
        "```bash",
        f"hamguard train --data {data} --method {name} --bits 32 --out models/{data}-{name}",
        "```",
        "",
        *cite_lines(f"hash:{name}"),
    ]
    return "\n".join(lines)


def shown(value: object) -> str:
    """A default as a person writes it: guides by name, radii as parts of 255."""
    if isinstance(value, float) and 0 < value < 1 and abs(value * 255 - round(value * 255)) < 1e-9:
        return f"{round(value * 255)}/255"
    return str(getattr(value, "name", value))


def attack_card(name: str) -> str:
    """The card of one attack: what its file says, its options, and the four values of each preset."""
    facts = method_facts(name)
    lines = [f"# {name}", "", f"{facts.title}.", "", f"Direction: {DIRECTIONS[facts.direction]}.", "", facts.doc, ""]
    lines += ["## Options", "", "| option | default | how to give it |", "|---|---|---|"]
    for option, parameter in facts.options.items():
        if option == "toward":
            continue
        how = {"threat": "`--eps`, `--threat`", "guide": f"`--guide`: {any_guide()}"}.get(option, f"`--{option}`")
        how = how if option in FLAGS else f"`--set {option}=VALUE`"
        ball = "the generator's" if facts.needs_generator else ball_of(parameter.default)
        default = ball if option == "threat" else shown(parameter.default)
        default = "the preset's" if parameter.default is None and option != "threat" else default
        lines.append(f"| `{option}` | {cell(default)} | {how} |")
    if facts.needs_generator:
        return "\n".join([*lines, *generator_lines(name), *cite_lines(f"attack:{name}")])
    for preset in facts.presets or ("default",):
        given: dict[str, Any] = {"preset": preset} if facts.presets else {}
        lines += ["", f"## The values of `{preset}`", "", *values_table(ATTACKS[name](**given))]
        if name == "cmla":
            lines += ["", "Of texts (`--side text`):", "", *values_table(cmla_text(**given))]
    if name == "cmla":
        return "\n".join([*lines, *word_lines(), *cite_lines(f"attack:{name}")])
    targets = " --targets no-overlap" if facts.direction == "either" else ""
    targets = " --targets label:3" if name == "universal" else targets
    own = facts.options["threat"].default
    eps = "" if isinstance(own, Threat) and own.norm != "linf" else " --eps 0.2"
    guided = " --guide mainstay" if targets and eps == "" else ""  # their own guide leads nowhere
    lines += ["", "```bash", f"hamguard attack models/digits --method {name}{eps}"]
    lines += [f"hamguard attack models/digits --method {name}{eps}{guided}{targets}"] if targets else []
    parts = [f"search:{part}" for part in ("nesterov", "Diverse", "translation") if name == "mifgsm"]
    return "\n".join([*lines, "```", "", *cite_lines(f"attack:{name}", *parts)])


def ball_of(threat: object) -> str:
    """The ball that an attack has where none is asked for; 8/255 where the method leaves it to the command."""
    return f"{threat.norm} {shown(threat.eps)}" if isinstance(threat, Threat) else "linf 8/255"


def values_table(made: Any) -> list[str]:
    """The values of an attack; its ball where it is not the usual one."""
    lines = ["| value | |", "|---|---|"]
    for part in ("guide", "loss", "search", "relaxation", "fidelity"):
        if hasattr(made, part):
            lines.append(f"| {part} | {cell(written(describe(getattr(made, part))))} |")
    if getattr(made, "fidelity", 0.0) and made.fidelity_norm == "l1":
        lines.append("| fidelity_norm | l1, the mean absolute change |")
    if isinstance(getattr(made, "guide", None), CrossCodes):
        change = "[0, eps]" if made.threat.one_sided else "[-eps, eps]"
        lines.append(f"| threat | {ball_of(made.threat)}, values change by {change} |")
        lines.append(
            f"| rounding | {'8-bit pictures' if made.rounding else 'none: a bag of words holds real values'} |"
        )
    return lines


def word_lines() -> list[str]:
    """Whole words, and the commands of all sides."""
    attack = "hamguard attack models/scenes-dcmh --method cmla"
    return [
        "",
        "## Whole words (`--side words`)",
        "",
        inspect.getdoc(words) or "",
        "",
        "| value | |",
        "|---|---|",
        f"| edits | {cell(written(describe(cmla_words())))} |",
        "",
        "`most` is given by `--words`, `intra` and `squared` by `--set`.",
        "",
        "```bash",
        attack,
        f"{attack} --preset paper --batch-size 128",
        f"{attack} --side text --eps 0.05",
        f"{attack} --side words --words 2",
        "```",
        "",
    ]


def generator_lines(name: str) -> list[str]:
    """Settings of a generator's training under each default, and the two commands."""
    forms = [
        read_job({}, {"data.source": "digits", "preset": preset}, sets, kind="generator")
        for preset, sets in (("default", []), ("default", ["budget=hard"]), ("paper", []), ("code", []))
    ]
    lines = [
        "",
        "## Settings of the generator",
        "",
        "| setting | soft | hard | paper | code | meaning |",
        "|---|---|---|---|---|---|",
    ]
    for key, field in GeneratorSettings.model_fields.items():
        values = " | ".join(cell(shown(getattr(one.parsed, key))) for one in forms)
        lines.append(f"| `{key}` | {values} | {cell(field.description or '')} |")
    for key in ("epochs", "batch_size", "lr", "schedule"):
        values = " | ".join(cell(getattr(one.training, key)) for one in forms)
        lines.append(f"| `{key}` | {values} | of the training recipe |")
    train = f"hamguard train --method {name} --victim models/digits --out generators/digits"
    attack = f"hamguard attack models/digits --method {name} --generator generators/digits"
    return [*lines, "", "```bash", train, f"{train}-hard --set budget=hard --set eps=0.2", attack, "```", ""]


def written(value: object) -> str:
    """A described value in one line: `SignSteps(steps=100, ...)`."""
    if isinstance(value, dict):
        inside = ", ".join(f"{key}={written(one)}" for key, one in value.items() if key != "kind")
        return f"{value['kind']}({inside})"
    if isinstance(value, list):
        return "[" + ", ".join(written(one) for one in value) + "]"
    return shown(value)


def attack_cards() -> dict[str, str]:
    """File name to content of every attack card, and of their list."""
    pages = {f"attacks/{name}.md": attack_card(name) for name in ATTACKS}
    lines = [
        "# Attacks",
        "",
        "Written by `tools/build_cards.py` from the code. How they are measured: [attacks](../attacks.md).",
        "",
    ]
    lines += [*attack_table(), "", "## Guides", "", "What `--guide` takes for the attacks that have this option.", ""]
    return {**pages, "attacks/README.md": "\n".join([*lines, *guide_table(), ""])}


def defense_card(name: str) -> str:
    """The card of one defense: what its file says, its loss, its settings, its published recipe."""
    kind = DEFENSES[name]
    module, loss = inspect.getdoc(inspect.getmodule(kind)) or "", inspect.getdoc(kind) or ""
    lines = [f"# {name}: {kind.title}", "", module, "", loss, "", "## Settings", ""]
    lines += ["| setting | default | meaning |", "|---|---|---|"]
    for key, field in kind.settings_type.model_fields.items():
        lines.append(f"| `{key}` | {cell(field.default)} | {cell(field.description or '')} |")
    if kind.paper:
        listed = ", ".join(f"{key} = {value}" for key, value in kind.paper.items())
        lines += ["", "## Published recipe", "", f"`--preset paper`: {listed}"]
    cost = epoch_cost(name, kind.settings_type())
    lines += ["", f"Cost of an epoch: {cost:g} passes (forward and back) a picture; normal training has 1.", ""]
    lines += [
        "```bash",
        f"hamguard harden models/digits --method {name} --eps 0.2 --out models/digits-{name}",
        "```",
        "",
        *cite_lines(f"defense:{name}"),
    ]
    return "\n".join(lines)


def defense_cards() -> dict[str, str]:
    """File name to content of every defense card, and of their list."""
    pages = {f"defenses/{name}.md": defense_card(name) for name in DEFENSES}
    lines = [
        "# Defenses",
        "",
        "Written by `tools/build_cards.py` from the code. How they are measured: [hardening](../hardening.md).",
        "",
        *defense_table(),
    ]
    common = inspect.getdoc(task) or ""
    lines += ["", "## What all share (`task` in the cards)", "", common]
    lines += ["", "## Pictures and texts", "", "Cross-modal models have [their own three](cross-modal.md): "]
    lines[-1] += "; ".join(f"`{name}`, {title}" for name, title in CROSS_DEFENSES.items()) + "."
    pages["defenses/cross-modal.md"] = cross_defense_card()
    return {**pages, "defenses/README.md": "\n".join([*lines, ""])}


def cross_defense_card() -> str:
    """The card of the defenses of cross-modal models: what their file says, settings, recipe, commands."""
    lines = ["# Adversarial training of cross-modal models", "", inspect.getdoc(cross_modal) or "", ""]
    lines += ["How models are trained, attacked and measured: [pictures and texts](../cross-modal.md).", ""]
    lines += ["| `--method` | what it is |", "|---|---|"]
    lines += [f"| `{name}` | {cell(title)} |" for name, title in CROSS_DEFENSES.items()]
    lines += ["", "## Settings", "", "| setting | default | meaning |", "|---|---|---|"]
    for key, field in CrossDefenseSettings.model_fields.items():
        lines.append(f"| `{key}` | {cell(shown(field.default))} | {cell(field.description or '')} |")
    usual = Job(kind="hardened-pair")
    lines.append(f"| `eps` | {shown(usual.eps)} | radius of picture adversaries, `--eps` |")
    lines += ["", "## Training defaults", "", "What differs from the common recipe:", ""]
    common = Recipe()
    for key in Recipe.model_fields:
        value = getattr(usual.training, key)
        if value != getattr(common, key):
            lines.append(f"* `{key}` = {value} (common: {getattr(common, key)})")
    lines += ["", "```bash"]
    lines += [
        f"hamguard harden models/scenes-dcmh --method {name} --out models/scenes-dcmh-{name}" for name in CROSS_DEFENSES
    ]
    return "\n".join([*lines, "```", "", *cite_lines("defense:static", "defense:minmax")])


def protector_cards() -> dict[str, str]:
    """File name to content of the card of PPL."""
    mine, paper = (read_job({}, {"preset": name}, kind="protector") for name in ("default", "paper"))
    lines = [
        "# ppl: proactive privacy-preserving learning",
        "",
        inspect.getdoc(ppl) or "",
        "",
        inspect.getdoc(smmd) or "",
    ]
    lines += ["", "How it is measured: [privacy](../privacy.md).", "", "## Settings", ""]
    lines += ["| setting | default | paper | meaning |", "|---|---|---|---|"]
    for key, field in ProtectorSettings.model_fields.items():
        values = " | ".join(cell(shown(one.settings[key])) for one in (mine, paper))
        lines.append(f"| `{key}` | {values} | {cell(field.description or '')} |")
    for key in ("epochs", "batch_size", "optimizer", "lr", "schedule", "clip_norm"):
        values = " | ".join(cell(getattr(one.training, key)) for one in (mine, paper))
        lines.append(f"| `{key}` | {values} | of the training recipe |")
    train = "hamguard train --method ppl --data digits --eps 0.3 --out protectors/digits"
    page = [*lines, "", "```bash", train, "```", "", *cite_lines("protector:ppl")]
    return {"protectors/ppl.md": "\n".join(page)}


def method_cards() -> dict[str, str]:
    """File name to content of the card of every hash method, and of their list."""
    pages = {f"methods/{name}.md": card(OBJECTIVES[name]) for name in OBJECTIVES}
    pages |= {f"methods/{name}.md": cross_card(CROSS_METHODS[name]) for name in CROSS_METHODS}
    lines = ["# Hash methods", "", "Written by `tools/build_cards.py` from the code.", "", *method_table()]
    lines += [
        "",
        "Those without a card fit a head to the features of a backbone: "
        "`hamguard train --method itq --backbone squeezenet1_0 --weights FILE.safetensors ...`",
        "",
        "## Pictures and texts",
        "",
        *cross_method_table(),
        "",
        "What they are for: [pictures and texts](../cross-modal.md).",
        "",
    ]
    return {**pages, "methods/README.md": "\n".join(lines)}


def cards() -> dict[str, str]:
    """File name to content of every card, of their lists, and of the index."""
    return {**method_cards(), **attack_cards(), **defense_cards(), **protector_cards(), "README.md": index(FOLDER)}


def main() -> int:
    """Write all cards."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    for name, content in cards().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
