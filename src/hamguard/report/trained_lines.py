"""What a training left, in lines: read from the card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hamguard.core.rows import levels_text

Facts = Mapping[str, Any]
GAMES = {"one-step": "one-step game", "two-step": "two-step game", "frozen": "frozen surrogate"}


def trained_lines(kind: str, out: str, card: Facts, *, text: Facts | None = None, train: int = 0) -> list[str]:
    """A few lines on what was trained.

    Args:
        kind: what it is: `model`, `pair`, `generator`, `protector` or `purifier`.
        out: its folder.
        card: its card.
        text: card of the text side of a pair.
        train: training pictures.
    """
    if kind == "generator":
        return _generator(out, card)
    if kind == "protector":
        return _protector(out, card)
    if kind == "purifier":
        return _purifier(out, card)
    return _model(out, card, train) if text is None else _pair(out, card, text)


def _model(out: str, card: Facts, train: int) -> list[str]:
    facts = card["statistics"]
    return [
        f"{out}: {card['title']}, {card['backbone']}, {card['bits']} bits, {train:,} training pictures",
        *_first_weights(card),
        f"codes: {facts['distinct_codes']:,.0f} distinct, collision rate {facts['collision_rate']:.3f}, "
        f"bit balance {facts['bit_balance']:.3f}, bit correlation {facts['bit_correlation']:.3f}, "
        f"quantization error {facts['quantization_error']:.4f}",
    ]


def _first_weights(card: Facts) -> list[str]:
    return [f"first weights: {card['initial_weights']}"] if card["initial_weights"] else []


def _pair(out: str, card: Facts, text: Facts) -> list[str]:
    facts, texts, words = card["statistics"], text["texts"], text["words"]
    left = (("without_text", "have no text"), ("unknown_words_only", "have only words outside the vocabulary"))
    return [
        f"{out}: {card['title']}, {card['backbone']}, {card['bits']} bits, {texts.get('training', 0):,} training pairs",
        *_first_weights(card),
        _reading(text, words),
        f"codes: {facts['distinct_codes']:,.0f} distinct of pictures, {facts['text_distinct_codes']:,.0f} of texts; "
        f"a picture and its text agree in {facts['pairs_agreeing_bits']:.1%} of the bits",
        *(f"Note: {texts[key]:,} training pictures {what} and were left out" for key, what in left if texts.get(key)),
    ]


def _reading(text: Facts, words: Sequence[str]) -> str:
    """How texts are read."""
    encoder = text.get("encoder", "words")
    if encoder == "words":
        return f"vocabulary: {len(words):,} terms of up to {text['ngrams']} words, such as {', '.join(words[:5])}"
    made = "the sentence encoder all-MiniLM-L6-v2" if encoder == "minilm" else "a file of features"
    return f"texts: {text['takes']:,} numbers each, by {made}"


def _generator(out: str, card: Facts) -> list[str]:
    eps, last = card["eps"], card["history"][-1]
    size = f"{card['norm']} {levels_text(eps)}" if eps and card["norm"] == "linf" else f"{card['norm']} {eps}"
    budget = "soft budget" if card["budget"] == "soft" else f"hard budget {size}"
    return [
        f"{out}: ProS-GAN, width {card['width']}, {budget}, {card['bits']} bits, "
        f"{card['data']['train']:,} training pictures",
        f"last epoch: {last['right_bits']:.1%} of the prototype's bits are right on training pictures, "
        f"RMSE {100 * last['rmse']:.2f} (x 100), {last['seconds']:,.0f} s in all",
    ]


def _protector(out: str, card: Facts) -> list[str]:
    eps, last, settings = card["eps"], card["history"][-1], card["settings"]
    names, seconds = ", ".join(card["surrogate_names"]), f"{last['seconds']:,.0f} s in all"
    if "game" in settings:
        method = f"PPL (Zhang, Huang, Xu, AAAI 2021), {GAMES[str(settings['game'])]}"
        taught = card["data"]["train"]
        learned = f"{100 * last['moved_bits']:.0f}% of the surrogate's bits move, {seconds}; surrogate: {names}"
    else:
        method, taught = "a generator against features", min(card["data"]["train"], settings["pictures"])
        learned = f"cosine of features {last['cosine']:.2f}, SSIM {last['ssim']:.3f}, {seconds}; against: {names}"
    return [
        f"{out}: {method}, width {card['width']}, eps {eps:.4g} ({eps * 255:.1f} of 255 levels), {taught:,} training pictures",
        f"last epoch: {learned}",
        *(f"Note: {note}" for note in card["notes"]),
    ]


def _purifier(out: str, card: Facts) -> list[str]:
    kind, last = "gray" if card["channels"] == 1 else "color", card["history"][-1]
    return [
        f"{out}: ComDefend, width {card['width']:g}, {kind} pictures, {card['data']['train']:,} training pictures",
        f"last epoch: RMSE {100 * last['mse'] ** 0.5:.2f} (x 100) between clean and purified training pictures, "
        f"{last['seconds']:,.0f} s in all",
    ]


def hardened_lines(out: str, card: Facts, *, size: str, epochs: int, train: int, seconds: float) -> list[str]:
    """A few lines on a hardened model.

    Args:
        out: its folder.
        card: its card.
        size: its radius, written.
        epochs: passes over the training part.
        train: training pictures.
        seconds: that it took.
    """
    facts = card["defense"]
    if "text_eps" in facts["settings"]:
        lines = [
            f"{out}: {card['title']}, {facts['title']}, eps {levels_text(facts['eps'])} "
            f"and {facts['settings']['text_eps']:g} of texts"
        ]
        if moved := facts.get("adversaries"):
            lines.append(f"adversaries: mean D {moved['image']:.4f} of pictures, {moved['text']:.4f} of bags")
        return lines
    plural = "s" if epochs > 1 else ""
    return [
        f"{out}: {facts['title']}, {size}, {epochs} epoch{plural} over {train:,} training pictures, {seconds:,.1f} s"
    ]
