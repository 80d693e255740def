"""THA: an image approaches the code that a small net learned for another label."""

import hamguard as hg

data = hg.data("digits")
model = hg.load("shipped:digits")
database, reference = hg.encode(model, data.database), hg.encode(model, data.train.first(300))
query = data.query.first(20)
targets = query.labels.roll(1, dims=1)  # every digit is to be taken for the next one

attack = hg.attacks.tha(steps=50, training_steps=100, threat=hg.Linf(0.2)).prepared(reference)
adv = attack(model, query.images, targets, reference)

clean = hg.metrics.mean_average_precision(hg.encode(model, query.images, targets), database).value
attacked = hg.metrics.mean_average_precision(hg.encode(model, adv.x_adv, targets), database).value
print(f"tha: t-MAP {clean:.3f} before, {attacked:.3f} after")
