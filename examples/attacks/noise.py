"""Noise: the control that every attack must beat, and that a search should not even notice."""

import hamguard as hg

data = hg.data("digits")
model = hg.load("shipped:digits")
database = hg.encode(model, data.database)
query = data.query.first(20)

attack = hg.attacks.noise(threat=hg.Linf(0.2))
adv = attack(model, query.images)

clean = hg.metrics.mean_average_precision(hg.encode(model, query), database).value
attacked = hg.metrics.mean_average_precision(hg.encode(model, adv.x_adv, query.labels), database).value
print(f"noise: MAP {clean:.3f} before, {attacked:.3f} after")
