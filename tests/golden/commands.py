"""The commands whose rows are kept: every verb on one small thing of its kind, and every kind of thing a verb takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.cli.helpers import write_pictures
from tests.fuzz import world as made
from tests.fuzz.kills import reproduce, small_demo
from tests.fuzz.kinds import ask
from tests.fuzz.world import World

Words = Callable[[World, Path], Sequence[object]]


@dataclass(frozen=True)
class Command:
    """A command whose rows are kept.

    Attributes:
        name: verb and variant; names the file of its rows.
        words: the command, from the world and a folder to write to.
        needs: piece of the world that is copied into the folder first.
        files: files of rows that it leaves in the folder and that are kept beside what it prints.
        code: how it ends.
        alone: it changes the process that runs it.
    """

    name: str
    words: Words
    needs: str = ""
    files: tuple[str, ...] = ()
    code: int = 0
    alone: bool = False


def plain(name: str, line: str, needs: str = "", code: int = 0, files: tuple[str, ...] = ()) -> Command:
    """A command written out, with `{place}` for its folder and `{piece}` for a whole piece of the world."""
    return Command(name, ask(line + " --json"), needs, files, code)


def attack(name: str, more: str, model: str = "model") -> Command:
    """An attack of least cost."""
    return plain(f"attack-{name}", f"attack {{{model}}} --queries 6 --batch-size 3 {more}")


def harden(method: str, more: str = "", checked: bool = True) -> Command:
    """A hardening with what is measured after it."""
    line = f"harden {{model}} --method {method} --eps 0.1 --epochs 1 --batch-size 20 --queries 6 --steps 2 {more}"
    checks = "--sanity 4 --audit 4" if checked else "--sanity 0 --audit 0"
    return plain(f"harden-{method}", f"{line} {checks} --out {{place}}/m")


NET = ("--epochs", 1, "--batch-size", 20, "--set", "backbone=conv2")


def _train(method: str, *more: object) -> Command:
    def words(world: World, place: Path) -> Sequence[object]:
        return ("train", "--data", world.toy, "--method", method, "--bits", 8, *more, "--json", "--out", place / "m")

    return Command(f"train-{method}", words)


def _remove(world: World, place: Path) -> Sequence[object]:
    with np.load(world / "codes" / "database.npz") as bank:
        return ("index", "remove", place / "ix", *bank["ids"][:3].tolist(), "--json")


def _train_folder(world: World, place: Path) -> Sequence[object]:
    write_pictures(place / "set", 60)
    return (*f"train --data folder:{place}/set --method itq --bits 8 --out {place}/m --json".split(),)


def _damaged(world: World, place: Path) -> Sequence[object]:
    (place / "in" / "b.webp").write_bytes((place / "in" / "b.webp").read_bytes()[:60])
    return made.protect(world, place)


def _cross_hardened(world: World, place: Path, method: str) -> Sequence[object]:
    words = [method if word == "static" else word for word in made.harden_cross(world, place / "m")]
    return [word for word in words if word != "--no-measure"]


EPS = "--eps 0.1"
AUDIT = "audit {model} --eps 0.1 --queries 6 --steps 2 --batch-size 3"
MEASURE = "measure {model} --queries 4 --steps 2 --clever 2x2"

COMMANDS: tuple[Command, ...] = (
    plain("data-list", "data list"),
    plain("models", "models conv2 resnet20 efficientnet_lite0"),
    plain("data-check", "data check arrays:{toy.npz}"),
    plain("data-check-texts", "data check arrays:{pairs.npz}"),
    plain("data-check-folder", "data check folder:{table}/set"),
    plain("data-check-lists", "data check lists:{lists}/set"),
    Command("train-dpsh", lambda w, p: made.train(w, p / "m")),
    _train("adsh", *NET),
    *(_train(method, *NET) for method in ("dsdh", "dsh")),
    _train("dph", "--batch-size", 32, "--set", "backbone=conv2", "--epochs", 3, "--bits", 16),
    *(_train(method) for method in ("itq", "lsh", "pca")),
    _train("csq", "--batch-size", 20, "--set", "backbone=conv2", "--epochs", 4, "--set", "lr=0.01"),
    _train("hashnet", *NET),
    Command("train-dcmh", lambda w, p: made.train_cross(w, p / "m")),
    Command("train-ssah", lambda w, p: made.train_cross(w, p / "m", "ssah")),
    Command("train-prosgan", lambda w, p: made.train_generator(w, p / "m")),
    Command("train-ppl", lambda w, p: made.train_protector(w, p / "m")),
    Command("train-comdefend", lambda w, p: made.train_comdefend(w, p / "m")),
    plain("train-recipe", "train {recipes}/train.toml --out {place}/m"),
    Command("train-folder", _train_folder),
    plain("train-again", "train {recipes}/train.toml --bits 16 --seed 4 --preset paper --out {place}/m"),
    plain("train-unfinished", "train --data arrays:{toy.npz} --method dpsh --bits 8 --batch-size 20 --set backbone=conv2 --epochs 2"
          " --out {place}/hash", needs="unfinished"),
    plain("encode", "encode {model} --out {place}/codes"),
    plain("features", "features {model} --out {place}/f.npz"),
    plain("encode-cross", "encode {cross} --out {place}/codes"),
    plain("index-build", "index build {model} --out {place}/ix"),
    plain("index-build-ivf", "index build {model} --engine ivf --out {place}/ix"),
    plain("index-build-texts", "index build {cross} --modality text --out {place}/ix"),
    plain("index-build-codes", "index build {foreign}/database.npz --out {place}/ix"),
    plain("index-build-everything", "index build {model} --everything --data arrays:{toy.npz} --out {place}/ix"),
    plain("index-add", "index add {place}/ix {codes}/query.npz", needs="index"),
    Command("index-remove", _remove, needs="index"),
    plain("index-info", "index info {index}/ix"),
    plain("index-info-ivf", "index info {ivf}/ix"),
    plain("search", "search {index}/ix {index}/query.png --top 5"),
    plain("search-radius", "search {index}/ix {index}/query.png query:0 query:1 --radius 2"),
    plain("search-folder", "search {index}/ix {photos}/in --top 2"),
    plain("search-ivf", "search {ivf}/ix {ivf}/query.png --top 5"),
    plain("search-text", "search {texts}/ix --model {cross} --text red --top 5"),
    plain("evaluate", "evaluate {model} --queries 6"),
    plain("evaluate-metrics", "evaluate {model} --metric map@10 --metric precision@3 --metric recall@5 --metric ndcg@5"
          " --metric ndcg-shared@5 --metric radius-precision@2 --metric radius-recall@2 --norm min --ties worst --empty skip"),
    plain("evaluate-shipped", "evaluate shipped:digits --queries 10"),
    plain("evaluate-learned", "evaluate {adsh} --learned"),
    plain("evaluate-codes", "evaluate --query-codes {foreign}/query.npz --database-codes {foreign}/database.npz"
          " --metric map --metric precision@3"),
    plain("evaluate-banks", "evaluate --query-codes {codes}/query.npz --database-codes {codes}/database.npz"),
    plain("evaluate-exported", "evaluate {exported}/net.pt2 --data arrays:{toy.npz} --queries 4"),
    plain("evaluate-cross", "evaluate {cross}"),
    plain("evaluate-copies", "evaluate {model} --queries 6 --view jpeg:50 --view crop:12 --view resize:8"),
    Command("evaluate-grid", made.study, needs="recipes"),
    Command("evaluate-study", made.cross_study, needs="recipes"),
    attack("list", "--list"),
    attack("both-sides", f"--method mainstay --method sdha --method pgd {EPS} --steps 2 --targets frequent"
           " --reference database"),
    attack("preset", f"--method hag --method mainstay --preset code {EPS} --steps 2 --no-fold"),
    attack("away", f"--method hag --method mainstay --method sdha --method center {EPS} --steps 2"),
    attack("steps", f"--method ifgsm --method mifgsm --method pgd {EPS} --steps 2 --guide own"),
    attack("single", f"--method fgsm --method noise {EPS}"),
    attack("adaptive", f"--method adaptive --guide mainstay --targets label:1 {EPS} --steps 4 --restarts 2"),
    attack("budgets", "--method hag --threat l2 --eps 0.5 --eps 1.5 --steps 2 --metric map --metric map@5"),
    attack("targeted", f"--method dhta --method p2p --method nag --targets no-overlap {EPS} --steps 2"),
    attack("prototype", f"--method tha --targets other {EPS} --steps 2 --set training_steps=2"),
    attack("universal", f"--method universal {EPS} --steps 2"),
    attack("generated", "--method prosgan --generator {generator}"),
    attack("transferred", f"--method hag {EPS} --steps 2 --source-model {{adsh}}"),
    attack("combined", f"--method mainstay {EPS} --steps 2 --source-model {{adsh}} --source-model {{model}} --combine sum"),
    attack("pictures", f"--method cmla {EPS} --steps 2", "cross"),
    attack("texts", f"--method cmla --side text {EPS} --steps 2", "cross"),
    attack("words", "--method cmla --side words --words 1", "cross"),
    Command("attack-saved", lambda w, p: made.attack(w, p / "made")),
    plain("transfer", "transfer {model} {adsh} --eps 0.2 --queries 6 --batch-size 3 --steps 2 --method mainstay --method dhta"),
    plain("transfer-targets", "transfer {model} --target {adsh} --eps 0.2 --queries 6 --steps 2 --method p2p --targets other"),
    plain("harden-list", "harden --list"),
    *(harden(method, "--set steps=1", checked=False) for method in ("atrdh", "cgat", "consistency", "static")),
    harden("control", checked=False),
    harden("saat", "--set steps=1"),
    harden("trades", "--set steps=1"),
    harden("distill", "--set steps=1"),
    Command("harden-cross-static", lambda w, p: _cross_hardened(w, p, "static")),
    Command("harden-cross-minmax", lambda w, p: _cross_hardened(w, p, "minmax")),
    plain("sanity", "sanity {model} --eps 0.1 --steps 2 --sample 4 --answers 3"),
    plain("sanity-started", "sanity {finished} --start {model} --eps 0.1 --steps 2 --sample 4 --answers 3"),
    plain("purify-parts", "purify {model} --with resize:0.75+bits:4 --eps 0.5 --threat l2 --queries 4 --steps 1"),
    plain("purify", "purify {model} --with jpeg:75 --with comdefend:{comdefend} --eps 0.1 --queries 4 --steps 2 --draws 1"),
    plain("detect", "detect {model} --eps 0.1 --queries 4 --steps 1 --false-alarms 0.3 --neighbors 5 --out {place}/d"),
    Command("protect", made.protect, needs="photos"),
    Command("protect-refined", lambda w, p: (*made.protect(w, p), "--refine", 2, "--matcher", "shipped:digits"), needs="photos"),
    plain("protect-plain", "protect {place}/in {place}/out --check 0 --eps 0.05 --format jpeg --quality 90 --metadata no-location",
          needs="photos"),
    Command("protect-damaged", _damaged, needs="photos", code=1),
    plain("verify-model", "verify {place}/in {place}/out --matcher {model} --view jpeg:50 --no-noise --cards 0 --top 2"
          " --out {place}/v", needs="protected"),
    plain("verify", "verify {place}/in {place}/out --matcher shipped:digits --cards 2 --out {place}/v", needs="protected"),
    Command("privacy", lambda w, p: made.search_four_ways(w, p / "out")),
    plain("privacy-noise", "privacy noise --eps 0.3 --data arrays:{toy.npz} --method dpsh --bits 16 --backbone conv2"
          " --set epochs=1 --train 0 --train 0.5 --augment shift --queries 5 --out {place}/out"),
    plain("audit", f"{AUDIT} --answers 3 --sample 4 --out {{place}}/a", files=("a/rows.jsonl",)),
    plain("audit-plain", f"{AUDIT} --answers 0 --threat l2 --no-substitute --check none"),
    plain("audit-transferred", f"{AUDIT} --answers 2 --ids-only --source-model {{adsh}} --check large-eps"),
    *(
        plain(f"measure-{name}", f"{MEASURE} --measure {name}")
        for name in ("success", "toward", "minimal", "radius", "flips", "sensitivity", "lipschitz", "clever", "clever-guide")
    ),
    plain("measure-list", "measure --list"),
    plain("measure-audited", "measure {model} --measure radius --measure sensitivity --queries 6 --audit {audited}"),
    plain("measure-two", "measure {model} {adsh} --measure minimal --measure flips --queries 4 --steps 2"),
    plain("report-grid", "report {grid}/out --out {place}/r.html"),
    plain("report", "report {rows}/rows.jsonl {audited} --out {place}/r.html --tables {place}/tables"),
    Command("reproduce", lambda w, p: (reproduce, p / "reproduced.toml", p / "out", "--json"), needs="recipes", alone=True),
    Command("demo", lambda w, p: (small_demo, p / "demo", "--json"), files=("demo/rows.jsonl",), alone=True),
    *(
        plain(f"wrong-{verb}", f"{verb} {words}", code=2)
        for verb, words in {
            "models": "no-such-network",
            "train": "--data arrays:{toy.npz} --method no-such-method --out {place}/m", "encode": "{photos}/in --out {place}/c",
            "evaluate": "{place}/nothing", "attack": "{model} --method no-such-method", "audit": "{model} --eps 8",
            "transfer": "{model}", "harden": "{model} --method no-such-method --out {place}/m", "sanity": "{place}/nothing",
            "purify": "{model} --with nothing:3", "detect": "{model} --false-alarms 2", "protect": "{place}/none {place}/out",
            "verify": "{place}/none {place}/out --matcher {model}", "privacy": "{place}/none --out {place}/out",
            "measure": "{model} --measure nothing", "report": "{place}/none.jsonl --out {place}/r.html",
            "reproduce": "nothing --out {place}", "search": "{place}/none {index}/query.png",
        }.items()
    ),
)  # fmt: skip
