"""JSMA on codes: few pixels move, each all the way; the budget is a share of the pixels."""

import hamguard as hg

data = hg.data("digits")
model = hg.load("shipped:digits")
database = hg.encode(model, data.database)
query = data.query.first(20)

attack = hg.attacks.jsma(threat=hg.L0(0.05))
adv = attack(model, query.images)

clean = hg.metrics.mean_average_precision(hg.encode(model, query), database).value
attacked = hg.metrics.mean_average_precision(hg.encode(model, adv.x_adv, query.labels), database).value
moved = (adv.x_adv != query.images).any(1).flatten(1).sum(1).float()
print(f"jsma: MAP {clean:.3f} before, {attacked:.3f} after, with {moved.mean():.1f} of {28 * 28} pixels moved")
