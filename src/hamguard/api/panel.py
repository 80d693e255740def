"""Searches that ship with hamguard, to try protected pictures with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from hamguard.api.arguments import checked

__all__ = ["PanelMatcher", "panel"]


@dataclass(frozen=True)
class PanelMatcher:
    """What is known of a matcher of the panel.

    Attributes:
        name: as every MODEL takes it, `panel:squeezenet-itq`.
        network: its backbone; `family` are the relatives of that.
        family: networks of one form: what fools one often fools the others.
        head: method of its hash head.
        bits: code length.
        here: whether it can be used on this machine.
        missing: what to install, or to put where, so that it can; empty where it can.
        precision: mean average precision of its search on photos of MS-COCO; None where it was not measured.
        precision_ci95: its interval.
        copies: share of JPEG copies of photos there whose original is among the first ten answers; None where it was not measured.
        copies_ci95: its interval.
        noise: the same share of copies with plain noise, every value moved by 8 of 255; None where it was not measured. A search
            that loses half of them is not counted where protection is tried.
        noise_ci95: its interval.
    """

    name: str
    network: str
    family: str
    head: str
    bits: int
    here: bool
    missing: str
    precision: float | None
    precision_ci95: tuple[float, float] | None
    copies: float | None
    copies_ci95: tuple[float, float] | None
    noise: float | None
    noise_ci95: tuple[float, float] | None

    def to_json(self) -> dict[str, Any]:
        """All facts as plain values."""
        return asdict(self)


@checked
def panel(names: Sequence[str] = ()) -> list[PanelMatcher]:
    """List the searches that ship with hamguard, which no shipped protector was made to pass: `hg.panel()`.

    `verify` tries protected pictures with them where no matcher is named; `protect` tries a few. Each is a hash model, and every
    MODEL may be one: `hg.load("panel:squeezenet-itq")`.

    Args:
        names: which, with or without `panel:`; all by default.

    Raises:
        RequestError: unknown name, or a part of the panel is damaged.
    """
    from hamguard.models.panel import panel_entry, read_panel
    from hamguard.models.shipped import PANEL

    entries = [panel_entry(name) for name in names] if names else read_panel()
    return [
        PanelMatcher(
            name=PANEL + one.name,
            network=one.network,
            family=one.family,
            head=one.head,
            bits=one.bits,
            here=not one.missing,
            missing=one.missing,
            precision=one.precision.value if one.precision else None,
            precision_ci95=one.precision.ci95 if one.precision else None,
            copies=one.copies.value if one.copies else None,
            copies_ci95=one.copies.ci95 if one.copies else None,
            noise=one.noise.value if one.noise else None,
            noise_ci95=one.noise.ci95 if one.noise else None,
        )
        for one in entries
    ]
