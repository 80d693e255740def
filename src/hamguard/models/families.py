"""Which networks are relatives: one form with other sizes, weights or depth. What fools one often fools its relatives."""

from __future__ import annotations

import re

FAMILIES: dict[str, tuple[str, ...]] = {
    "efficientnet-lite": ("efficientnet",),
    "mobilenet": ("mobilenet",),
    "squeezenet": ("squeezenet",),
    "alexnet": ("alexnet",),
    "resnet-cifar": ("resnet20", "resnet32", "resnet44", "resnet56"),
}
"""Family to how names of its networks begin."""


def family_of(network: str) -> str:
    """Family of a network by its name; of one that stands in no family here, the letters that its name begins with.

    >>> family_of("efficientnet_lite2"), family_of("resnet56+512"), family_of("resnet50"), family_of("timm:tf_efficientnet_b3")
    ('efficientnet-lite', 'resnet-cifar', 'resnet', 'efficientnet-lite')
    """
    name = network.partition("+")[0].removeprefix("timm:").removeprefix("tf_")
    for family, starts in FAMILIES.items():
        if any(re.match(rf"{start}(?!\d)", name) for start in starts):
            return family
    found = re.match(r"[a-z]+", name)
    return found[0] if found else name
