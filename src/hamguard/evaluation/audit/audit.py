"""`run_audit`: stages, checks, rows and verdict in their order; what was done is kept until the result is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hamguard.attacks.threat import check_ball
from hamguard.core.archives import read_npz
from hamguard.core.digests import digest_array, digest_file, digest_json
from hamguard.core.errors import DamagedError, MissingFileError, RequestError, StaleError
from hamguard.core.files import read_sealed, sweep, write_npz, write_sealed
from hamguard.core.places import cache_folder
from hamguard.core.rows import Row, read_rows, write_rows
from hamguard.core.types import Array, Bytes
from hamguard.evaluation.attack.run import forget
from hamguard.evaluation.attack.spec import check_gradients
from hamguard.evaluation.audit.answers import AnswerCurve, answer_stage, search_of
from hamguard.evaluation.audit.bench import Bench
from hamguard.evaluation.audit.checks.battery import AUDIT, check_names
from hamguard.evaluation.audit.checks.check import Case, Check
from hamguard.evaluation.audit.plan import BATTERY, AuditPlan
from hamguard.evaluation.audit.rows import audit_rows
from hamguard.evaluation.audit.stages import begin, gradient_stages, substitute_of, transfer_stages
from hamguard.evaluation.audit.verdict import Verdict, judge
from hamguard.evaluation.audit.worst import Worst
from hamguard.evaluation.ground import Ground
from hamguard.models.store import AnyModel
from hamguard.training.encode import fits

ROWS, FACTS, WORST, WORK = "rows.jsonl", "audit.json", "worst.npz", ".work"


@dataclass(frozen=True)
class Audited:
    """An audit.

    Attributes:
        plan: what was asked for.
        rows: its rows.
        verdict: three sentences.
        checks: what the checks found.
        stages: name of each stage, queries it attacked, worst MAP of all queries after it; the clean MAP first. Without labels the
            share whose originals are found stands in the place of each MAP.
        curve: MAP against pictures asked, as two lists; empty where the stage was left out.
        pixels: the worst pictures, `(Q, H, W)` or `(Q, H, W, 3)` uint8.
    """

    plan: AuditPlan
    rows: list[Row]
    verdict: Verdict
    checks: tuple[Check, ...]
    stages: tuple[tuple[str, int, float], ...]
    curve: tuple[tuple[int, ...], tuple[float, ...]]
    pixels: Bytes


def audit_key(ground: Ground, plan: AuditPlan, sources: Sequence[AnyModel]) -> str:
    """Content hash of everything that decides the rows."""
    searched = {"database": ground.database.digest} if ground.indexed else {}
    return digest_json(
        searched
        | {
            "plan": asdict(plan),
            "battery": [cell.name for cell in BATTERY if ground.labeled or not cell.aware],
            "model": ground.model.digest,
            "sources": [model.digest for model in sources],
            "split": ground.split.digest,
            "seed": ground.seed,
            "pictures": [ground.dataset.images.digest, digest_array(ground.rows)],
            "batch": ground.batch_size,
            "labels": digest_array(ground.query.labels, ground.database.labels),
        }
    )


def run_audit(ground: Ground, plan: AuditPlan, *, sources: Sequence[AnyModel] = (), out: Path | None = None) -> Audited:
    """Audit a model on its data.

    Args:
        ground: the model on its data.
        plan: what is asked for.
        sources: models of `plan.sources`, in their order.
        out: write rows, facts and the worst pictures here, and keep unfinished work here.

    Raises:
        RequestError: labels of some pictures but of no query, a model without a gradient, a budget that is no ball, a source of
            another picture size, an unknown check, or an `out` that holds other things.
        StaleError: `out` holds another audit.
        RunError: NaN gradients, a search that fails for good, or a full disk.
        StoppedError: a person stopped the audit; what was finished stays.
    """
    names = check_names(plan.checks)
    check_ball(plan.budget.threat, "an audit")
    if not ground.labeled and ground.dataset.labels.any():
        raise RequestError(f"no query of {ground.dataset.name}, or no picture that is searched, has a label")
    check_gradients("adaptive", (ground.model, *sources))
    for name, model in zip(plan.sources, sources, strict=True):
        if not fits(model, ground.dataset.images):
            raise RequestError(f"{name} takes pictures of another size than {ground.name}")
    search = (
        search_of(ground, plan.endpoint, distances=plan.distances) if plan.answers else None
    )  # a wrong name costs no work
    key, restart = audit_key(ground, plan, sources), ground.context.restart
    folder = out / WORK if out else (ground.context.work or cache_folder() / "audits") / key
    if out and (done := _look_at(out, key, plan, restart=restart)) is not None:
        return done
    if restart:
        forget(folder)
    if out:
        write_sealed(folder / FACTS, {"key": key})
    bench = Bench(ground, plan.budget, folder, plan.sample)
    worst = begin(bench)
    gradient_stages(bench, worst)
    made_on = dict(zip(plan.sources, sources, strict=True))
    if not made_on and plan.substitute:
        made_on = {"a substitute": substitute_of(bench)}
    transfer_stages(bench, worst, made_on)
    curve = answer_stage(bench, worst, search, distances=plan.distances) if search else None
    case = Case.best(bench, worst)
    checks = [case.make(name, **AUDIT.get(name, {})) for name in names]
    done = _audited(bench, plan, worst, curve, checks)
    if out:
        _write(out, key, bench, worst, done)
    forget(folder)
    return done


def _audited(bench: Bench, plan: AuditPlan, worst: Worst, curve: AnswerCurve | None, checks: list[Check]) -> Audited:
    stages = [("clean", bench.count, float(worst.clean.mean()))]
    stages += [(stage.name, len(stage.numbers), stage.after) for stage in worst.stages]
    points: tuple[tuple[int, ...], tuple[float, ...]] = ((), ())
    if curve is not None:
        points = tuple(curve.asked.tolist()), tuple(curve.ap.mean(1).tolist())
    verdict, rows = judge(bench, worst, curve, checks), audit_rows(bench, worst, curve, checks)
    return Audited(plan, rows, verdict, tuple(checks), tuple(stages), points, worst.pixels)


def _write(out: Path, key: str, bench: Bench, worst: Worst, done: Audited) -> None:
    """Rows and worst pictures first, `audit.json` last: a folder with it is complete."""
    write_rows(out / ROWS, done.rows)
    arrays: dict[str, Array] = {
        "ids": bench.ground.query.ids,
        "clean_ap": worst.clean,
        "worst_ap": worst.ap,
        "floor_ap": worst.floor,
        "by": worst.by,
        "pixels": worst.pixels,
    }
    write_npz(out / WORST, arrays, compressed=True)
    facts: dict[str, Any] = {
        "key": key,
        "model": bench.ground.name,
        "model_hash": bench.ground.model.digest,
        "dataset": bench.ground.dataset.title,
        "eps": bench.threat.eps,
        "norm": bench.threat.norm,
        "plan": asdict(done.plan),
        "verdict": asdict(done.verdict),
        "checks": [asdict(c) for c in done.checks],
        "stages": done.stages,
        "curve": done.curve,
        "files": {name: digest_file(out / name) for name in (ROWS, WORST)},
    }
    write_sealed(out / FACTS, facts)


def _look_at(out: Path, key: str, plan: AuditPlan, *, restart: bool) -> Audited | None:
    """The finished audit of a folder, if it is this one; anything else that would be lost is refused."""
    if out.exists() and not out.is_dir():
        raise RequestError(f"{out} is a file; `out` must be a folder")
    if not out.is_dir():
        return None
    sweep(out)
    sweep(out / WORK)
    names = {entry.name for entry in out.iterdir()}
    if not names or (names == {WORK} and not any((out / WORK).iterdir())):  # killed before its first file had its name
        return None
    facts, begun = _read(out / FACTS, restart), _read(out / WORK / FACTS, restart)
    if facts is None and begun is None:
        raise RequestError(f"{out} holds other files; `out` must be a new folder or one that an audit made")
    if restart:
        (out / FACTS).unlink(missing_ok=True)
        return None
    held = (facts or begun or {}).get("key")
    if held != key:
        raise StaleError(f"{out} holds another audit; give another `out`, or `restart` to replace it")
    if facts is None:
        return None
    try:
        rows, pixels = read_rows(out / ROWS), read_npz(out / WORST, "audit", sealed=True)["pixels"]
        for name in (ROWS, WORST):
            if digest_file(out / name) != facts["files"][name]:
                raise DamagedError(out / name, "it is not what the audit wrote")
        verdict, checks = facts["verdict"], facts["checks"]
        return Audited(
            plan,
            rows,
            Verdict(**{**verdict, "sentences": tuple(verdict["sentences"])}),
            tuple(Check(**check) for check in checks),
            tuple((n, c, v) for n, c, v in facts["stages"]),
            (tuple(facts["curve"][0]), tuple(facts["curve"][1])),
            pixels,
        )
    except RequestError as error:
        raise RequestError(f"{error}; `restart` makes it again") from error
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise RequestError(f"{out} holds a damaged audit; `restart` makes it again: {error}") from error


def _read(path: Path, restart: bool) -> dict[str, Any] | None:
    try:
        return read_sealed(path, "audit")
    except MissingFileError:
        return None
    except DamagedError as error:
        if restart:
            return {}
        raise RequestError(f"{error}; give another `out`, or `restart`") from error
