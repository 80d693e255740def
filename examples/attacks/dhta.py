"""DHTA: an image approaches the code that nine images of another label vote for."""

import hamguard as hg

data = hg.data("digits")
model = hg.load("shipped:digits")
database, reference = hg.encode(model, data.database), hg.encode(model, data.train.first(300))
query = data.query.first(20)
targets = query.labels.roll(1, dims=1)  # every digit is to be taken for the next one

attack = hg.attacks.dhta(steps=20, threat=hg.Linf(0.2))
adv = attack(model, query.images, targets, reference)

clean = hg.metrics.mean_average_precision(hg.encode(model, query.images, targets), database).value
attacked = hg.metrics.mean_average_precision(hg.encode(model, adv.x_adv, targets), database).value
print(f"dhta: t-MAP {clean:.3f} before, {attacked:.3f} after")
