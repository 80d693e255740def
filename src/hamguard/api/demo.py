"""The tour of the demo: every stage by the call that a notebook makes, on scanned digits that need no download."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from hamguard import attacks
from hamguard.api.arguments import checked
from hamguard.api.attack import AttackRows, attack
from hamguard.api.audit import PICTURE, AuditResult, audit
from hamguard.api.data import data
from hamguard.api.defense import sanity
from hamguard.api.evaluate import evaluate
from hamguard.api.harden import harden
from hamguard.api.index import index
from hamguard.api.metrics import average_precision
from hamguard.api.protect import protect
from hamguard.api.report import report
from hamguard.api.results import Rows
from hamguard.api.running import running
from hamguard.api.search import search
from hamguard.api.sheets import draw_attack
from hamguard.api.train import train
from hamguard.api.verify import verify
from hamguard.attacks.budget import Budget, Linf
from hamguard.core.context import Context
from hamguard.core.errors import RequestError
from hamguard.core.html import lines_html
from hamguard.core.rows import Row
from hamguard.evaluation.attack.measure import Measured
from hamguard.evaluation.attack.run import forget
from hamguard.evaluation.audit.sanity import marked
from hamguard.evaluation.protection.four_searches import Party, Sides, four_rows, needed, run_cell
from hamguard.evaluation.protection.protections import by_noise, by_protector, protected_pictures
from hamguard.evaluation.search.curves import curve_rows
from hamguard.images.io import encode
from hamguard.models.hash_model import HashModel
from hamguard.models.protector import Protector
from hamguard.report.demo_summary import shown_pictures, summary
from hamguard.report.pictures import write_pictures
from hamguard.trainers.words import read_job

if TYPE_CHECKING:
    from hamguard.data.opened import Data
    from hamguard.evaluation.ground import Ground

__all__ = ["Demo", "demo"]

T = TypeVar("T")

BITS = 32
SHOWN = 6  # queries on the sheet
EPS = 0.2  # of [0, 1]: scans of 16 gray levels take more than photos before a person minds
ATTACKS = ("noise", "hag", "mainstay", "dhta")
AUDIT_EPS, AUDITED = 0.1, 60  # half the budget, where a worst case is not trivial; the first of the queries
STEPS = 20  # gradients a picture; a hundred move the figures in the third digit
HARDENING: Mapping[str, Any] = {"method": "distill", "epochs": 5, "lr": 3e-3}
"""Most MAP held within 20 core-seconds, on validation pictures."""
CHECKED = 12  # queries of the sanity checks
PROTECT_EPS = 0.3  # published for Fashion-MNIST, pictures of the same kind; plain to see
GAME: Mapping[str, Any] = {"warmup": 100, "batch_size": 32, "epochs": 6}
FILES = 40  # pictures that are written, protected and verified as files
OTHER = "learned from protected pictures"  # what the rows call the model of the other party


@dataclass(frozen=True)
class Demo:
    """What the tour left.

    Attributes:
        rows: every figure of every stage; clean pictures and noise stand once.
        folder: where model, index, rows, pictures and page lie.
        seconds: time that it took.
    """

    rows: Rows = field(repr=False)
    folder: Path
    seconds: float

    @property
    def lines(self) -> list[str]:
        """What came out: ten lines, one a stage or finding, every figure that of a row."""
        return summary(self.rows)

    @property
    def page(self) -> Path:
        """Everything on one page."""
        return self.folder / "report.html"

    @property
    def index(self) -> Path:
        """The index, to search on in."""
        return self.folder / "index"

    def _repr_html_(self) -> str:
        return lines_html([*self.lines, f"Everything on one page: {self.page}"])


@checked
def demo(out: Path | str = "demo", *, context: Context | None = None) -> Demo:
    """Learn hash codes on real scanned digits, search, attack, audit, harden, protect, verify: ten lines and one page.

    A tour that was stopped goes on when it is called again: what is trained is read, and a training goes on where it was.

    Args:
        out: folder for model, index, rows and pictures; what another tour left there is trained over.
        context: device, seed, how progress is shown, whether to begin anew (`restart`), and who is told what was done.

    Raises:
        RequestError: `out` holds other things.
        RunError: something could not be written, or a loss became NaN.
        StoppedError: a person stopped it; what was done is kept.
    """
    started, out = time.perf_counter(), Path(out)
    context = running(context)
    tour = _Tour(out, data("digits"), context.but(work=out / "work"))
    rows = Rows(tour.rows()).once()  # clean pictures and noise stand beside every attack
    forget(out / "work")
    rows.save(out / "rows.jsonl")
    write_pictures(out, shown_pictures(EPS, AUDIT_EPS))
    done = Demo(Rows(rows), out, time.perf_counter() - started)
    report(out, done.page, title="A tour on scanned digits")
    seconds = time.perf_counter() - started
    context.tell(f"8. report: {len(rows):,} rows in {out / 'rows.jsonl'}, {seconds:.0f} seconds in all")
    return replace(done, seconds=seconds)


@dataclass(frozen=True)
class _Tour:
    """The stages, each of which says in a line what it did and where it lies.

    Attributes:
        out: folder of the demo.
        data: the digits.
        context: its `work` keeps unfinished attacks.
    """

    out: Path
    data: Data
    context: Context

    def rows(self) -> Iterator[Row]:
        """Rows of all stages, in their order."""
        model = self.learn()
        yield from self.search(model)
        attacked = self.attack(model)
        yield from attacked
        yield from _curves(attacked.ground, attacked.attacks)
        audited = self.audit(model)
        self.context.tell(
            f"4. audit: {len(audited.stages) - 1} attacks within {AUDIT_EPS:g} a pixel on {AUDITED} queries, "
            f"{audited.verdict.grade} -> {self.out / PICTURE}"
        )
        audited.draw(self.out / PICTURE, self.data.dataset.title)
        yield from audited.rows
        yield from self.harden(model)
        yield from self.protect(model)
        yield from self.verify()

    def learn(self) -> HashModel:
        """Train the model."""
        place = self.out / "model"
        model = self.going_on(lambda context: train(self.data, "csq", bits=BITS, out=place, context=context))
        card, count, every = model.card, len(self.data.split.train), len(self.data.dataset)
        self.context.tell(
            f"1. learn: {card.title}, {card.backbone}, {BITS} bits, from {count:,} of {every:,} scanned digits -> {place}"
        )
        return model

    def search(self, model: HashModel) -> Rows:
        """Score the search, index the database and draw what it answers."""
        place, sheet, curves = self.out / "index", self.out / "sheet.png", self.out / "curves.png"
        rows = evaluate(model, self.data, context=self.context)
        rows.curves(curves, name=f"csq, {BITS} bits")
        query, database = rows.searched.query, rows.searched.database
        index(str(self.out / "model"), out=place, context=self.context)
        # five queries as they come, and the one that the search serves worst: a sheet of successes teaches nothing
        hardest = f"query:{int(average_precision(query, database).argmin())}"
        asked = [*(f"query:{number}" for number in range(SHOWN - 1)), hardest]
        search(place, asked, model=model, data=self.data, context=self.context).draw(
            sheet,
            title=f"digits, {model.card.title}, {BITS} bits",
            footer="query and its ten nearest by Hamming distance; green and tick: same digit, red and cross: another",
            names={hardest: "hardest query"},
        )
        self.context.tell(
            f"2. search: {len(query)} queries among {len(database):,} codes, {database.packed.nbytes:,} bytes packed "
            f"-> {place}, {sheet}, {curves}"
        )
        return rows

    def attack(self, model: HashModel) -> AttackRows:
        """Noise, then three published attacks within the same budget."""
        ball, picture = Linf(EPS), self.out / "attacked.png"
        made = [attacks.noise(threat=ball), attacks.hag(steps=STEPS, threat=ball), _mainstay()]
        made.append(attacks.dhta(steps=STEPS, threat=ball))
        rows = attack(model, self.data, made, context=self.context)
        draw_attack(picture, rows.ground, rows.attacks[ATTACKS.index("mainstay")])
        self.context.tell(f"3. attack: {', '.join(ATTACKS)} within {EPS:g} a pixel -> {picture}")
        return rows

    def audit(self, model: HashModel, **less: Any) -> AuditResult:
        """The worst case of the first queries."""
        budget = Budget(Linf(AUDIT_EPS), steps=STEPS, queries=50)
        how: dict[str, Any] = {"queries": AUDITED, "sample": 24, "substitute": False, "context": self.context}
        return audit(model, self.data, budget, **how, **less)

    def harden(self, model: HashModel) -> Iterator[Row]:
        """Harden, attack and audit as before, and check that the defense is no mask."""
        place, picture = self.out / "hardened", self.out / "hardened.png"
        hardened = self.going_on(
            lambda context: harden(model, self.data, out=place, threat=Linf(EPS), context=context, **HARDENING)
        )
        found = attack(hardened, self.data, _mainstay(), context=self.context)
        draw_attack(picture, found.ground, found.attacks[0], shown=2)
        worst = self.audit(hardened, answers=False, checks=("none",))
        budget = Budget(Linf(EPS), steps=10, queries=30)
        sane = sanity(hardened, self.data, budget, sample=CHECKED, start=model, context=self.context)
        self.context.tell(f"5. harden: {hardened.card.defense['title']} -> {place}, {picture}")
        yield from marked(found, sane)
        yield from marked(worst.rows, sane)
        yield from sane.rows
        yield from _curves(found.ground, found.attacks)

    def protect(self, model: HashModel) -> list[Row]:
        """Train a protector that never sees the model, search with models of both kinds, and protect files."""
        place = self.out / "protector"
        net = self.going_on(
            lambda context: train(self.data, "ppl", out=place, eps=PROTECT_EPS, context=context, **GAME)
        )
        rows = self.four_searches(model, net)
        self.write_photos()
        copies = self.out / "protected"

        def protected(context: Context) -> None:
            if context.restart:
                shutil.rmtree(copies, ignore_errors=True)
            protect(self.out / "photos", copies, protector=place, eps=PROTECT_EPS, context=context)

        self.going_on(protected)
        self.context.tell(f"6. protect: PPL within {PROTECT_EPS:g} a pixel, {FILES} files -> {copies}")
        return rows

    def four_searches(self, model: HashModel, net: Protector) -> list[Row]:
        """Searches under noise of the same size, of the demo's model, and of one that learned from protected pictures."""
        dataset, split, seed = self.data.dataset, self.data.split, self.context.seed
        ask = read_job({}, {"data.source": "digits", "method": "csq", "model.bits": BITS, "seed": seed})
        place, searches, rows = Path(model.place), self.out / "searches", []
        for protection in (by_noise(PROTECT_EPS, seed), by_protector(net.to(self.context.device))):
            pictures = protected_pictures(dataset.images, needed(split, None), protection, context=self.context)
            sides = Sides(dataset, pictures, split, protection)
            rows += four_rows(sides, Party(ask, 0.0), model, model.card, place, context=self.context)
        other = self.going_on(lambda context: run_cell(sides, Party(ask, 1.0), searches, context=context))
        shutil.rmtree(searches, ignore_errors=True)
        return [*(replace(row, model=model.place) for row in rows), *(replace(row, model=OTHER) for row in other)]

    def verify(self) -> Rows:
        """Measure what the protected files do to the model's search."""
        done = verify(
            self.out / "photos",
            self.out / "protected",
            matchers=[str(self.out / "model")],
            views=["jpeg:85"],
            cards=12,
            out=self.out / "effect",
            name="digits as files",
            context=self.context,
        )
        picture = done.sheet(self.out / "effect.png")
        self.context.tell(f"7. verify: {len(done.measured.pairs)} pairs of files -> {done.page}, {picture}")
        return done.rows

    def write_photos(self) -> None:
        """The first queries as picture files."""
        folder = self.out / "photos"
        shutil.rmtree(folder, ignore_errors=True)
        numbers = self.data.split.query[:FILES]
        for number, picture in zip(numbers, self.data.dataset.images.pixels(numbers), strict=True):
            encode(picture, folder / f"digit-{int(number):04d}.png")

    def going_on(self, make: Callable[[Context], T]) -> T:
        """What goes on where it was stopped; anew where another tour, or something damaged, lies there."""
        try:
            return make(self.context)
        except RequestError:
            return make(self.context.but(restart=True))


def _mainstay() -> attacks.Attack[Any]:
    """The attack that the hardened model is compared under."""
    return attacks.mainstay(steps=STEPS, threat=Linf(EPS))


def _curves(ground: Ground, found: tuple[Measured, ...]) -> Iterator[Row]:
    """Curves of a model's clean queries and of those that attacks away from a code have changed, as rows."""
    base = ground.base
    yield from curve_rows(*ground.search(), base)
    for one in found:
        if one.targets is None:
            bank = one.sides.attacked
            own = next(row for row in one.rows if (row.attack or {}).get("method") == one.spec.name)
            hashes = {**base.hashes, "query_codes": bank.digest}
            facts = replace(base, attack=own.attack, threat=own.threat, hashes=hashes)
            yield from curve_rows(bank, ground.database, facts)
