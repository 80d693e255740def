"""Which networks there are, and what is known of them."""

from __future__ import annotations

from collections.abc import Sequence

from hamguard.api.arguments import checked
from hamguard.api.running import running
from hamguard.core.context import Context
from hamguard.models.listing import Network, list_networks

__all__ = ["Network", "models"]


@checked
def models(names: Sequence[str] = (), *, speed: bool = False, context: Context | None = None) -> list[Network]:
    """List networks for `backbone=...`: `hg.models(["efficientnet_lite0"])[0].known`.

    Args:
        names: which networks; all by default, those with known weights first. `timm:NAME` asks for one of timm's.
        speed: measure pictures a second on this machine, about a second a network and more for large ones.
        context: where to measure.

    Returns:
        Facts of each network: whether it can be used, whether its weights are here and what to install where they are not, its
        size, and accuracies that are known of its weights, with their sources.

    Raises:
        RequestError: unknown name; the message has the nearest.
    """
    return list_networks(names, device=running(context).device if speed else None)
