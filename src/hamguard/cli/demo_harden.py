"""The demo's fifth stage: harden the model, and measure it as it was measured before."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hamguard.api.running import Bar
from hamguard.cli.common import say

if TYPE_CHECKING:
    from hamguard.core.rows import Row
    from hamguard.evaluation.attack.measure import Measured
    from hamguard.evaluation.audit.audit import Audited
    from hamguard.evaluation.ground import Ground

HARDENING = (
    "distill",
    5,
    "lr=3e-3",
)  # method, epochs, rate: most MAP held within 20 core-seconds, on validation pictures
CHECKED = 12  # queries of the sanity checks


def harden_digits(out: Path, before: Ground, attacked: Measured, audited: Audited) -> list[Row]:
    """Harden, attack and audit as before, and check that the defense is no mask.

    Args:
        out: folder of the demo; gets the model `hardened` and the picture `hardened.png`.
        before: the model on its data.
        attacked: the attack that it is compared under.
        audited: the audit that it is compared under.

    Raises:
        RunError: something could not be written, or the loss became NaN.
    """
    from hamguard.api.sheets import draw_attack
    from hamguard.attacks.budget import Budget, Linf
    from hamguard.cli.demo_page import points
    from hamguard.core.context import Context
    from hamguard.evaluation.attack.measure import measure_attack
    from hamguard.evaluation.attack.run import forget
    from hamguard.evaluation.audit.audit import run_audit
    from hamguard.evaluation.audit.sanity import marked, run_sanity
    from hamguard.evaluation.ground import Ground, Loaded
    from hamguard.trainers.kind import Start
    from hamguard.trainers.run import run_job
    from hamguard.trainers.words import read_job

    method, epochs, *sets = HARDENING
    assert attacked.spec.threat is not None
    eps, seed = attacked.spec.threat.eps, before.seed
    flags = {"method": method, "eps": eps, "seed": seed, "data.source": "digits", "training.epochs": epochs}
    job, folder = read_job({}, flags, [str(word) for word in sets], kind="hardened"), out / "hardened"
    start = Start(before.name, before.model, before.card, out / "model")
    context = Context(device=before.device, restart=True, stage=Bar)
    done = run_job(job, before.data, folder, start=[start], context=context)
    done.model.requires_grad_(False)
    hardened = Loaded(str(folder), done.model, done.card)
    ground = Ground.open(hardened, before.data, context=before.context.but(work=out / "work"))
    with Bar("attacking it") as bar:
        found = measure_attack(ground, attacked.spec, work=out / "work", progress=bar)
    draw_attack(out / "hardened.png", ground, found, shown=2)
    asked = replace(audited.plan, answers=False, checks=("none",))
    worst = run_audit(ground.first(audited.rows[0].n or 0), asked)
    budget = Budget(Linf(eps), steps=10, queries=30)
    sane = run_sanity(ground, budget, sample=CHECKED, start=before.model)
    forget(out / "work")
    say(f"5. harden: {done.card.defense['title']} -> {folder}, {out / 'hardened.png'}")
    return [*marked(found.rows, sane), *marked(worst.rows, sane), *sane.rows, *points(ground, [found])]
