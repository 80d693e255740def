"""ProS-GAN: a generator, trained once against a model, makes the attacked picture in one pass.

Paper: X. Wang, Z. Zhang, B. Wu, F. Shen, G. Lu, "Prototype-supervised Adversarial Network for Targeted Attack of Deep Hashing",
CVPR 2021; journal version Z. Zhang, X. Wang, G. Lu, F. Shen, L. Zhu, IEEE TMM 2021. `hamguard train --method prosgan` trains the
generator: the nets are in `models/prosgan.py`, the game with every difference from paper and code in `attacks/prosgan_game.py`,
the prototype in `attacks/guides/supervised.py`.

As published the budget is soft: a weighted squared error, no largest change of a pixel. Its rows say norm `soft` and eps null,
the noise beside it is uniform with the same RMSE, and the fair neighbor is DHTA at that RMSE. A generator trained with
`--set budget=hard` keeps a ball, and its own eps is taken.
"""

from __future__ import annotations

from hamguard.attacks.attack import Attack
from hamguard.attacks.generated import WHOLE, NoGenerator
from hamguard.attacks.guides.prototype import PrototypeCode
from hamguard.attacks.methods.registry import register
from hamguard.attacks.threat import Threat


@register("prosgan", direction="toward")
def prosgan(*, threat: Threat | None = None) -> Attack:
    """ProS-GAN: one pass of a generator that was trained against the model.

    Args:
        threat: the allowed set that the generator must have been trained for; None takes the generator's own.

    Returns:
        An attack that waits for its generator: `generated.generated` gives it one.
    """
    return Attack(PrototypeCode(), search=NoGenerator(threat), threat=threat or WHOLE, toward=True)
