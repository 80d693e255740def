"""FGSM: one step of full size along the sign of the gradient."""

import hamguard as hg

data = hg.data("digits")
model = hg.load("shipped:digits")
database = hg.encode(model, data.database)
query = data.query.first(20)

attack = hg.attacks.fgsm(threat=hg.Linf(0.2))
adv = attack(model, query.images)

clean = hg.metrics.mean_average_precision(hg.encode(model, query), database).value
attacked = hg.metrics.mean_average_precision(hg.encode(model, adv.x_adv, query.labels), database).value
print(f"fgsm: MAP {clean:.3f} before, {attacked:.3f} after")
