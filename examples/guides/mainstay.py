"""The mainstay code: near codes that share labels, by how many they share."""

import hamguard as hg

data = hg.data("digits")
model = hg.load("shipped:digits")
database = hg.encode(model, data.database)
query = data.query.first(20)

attack = hg.attacks.pgd(steps=10, guide=hg.attacks.SignedMean("mainstay"), threat=hg.Linf(0.2))
reference = hg.encode(
    model, data.train.first(300)
)  # codes of images that the model learned from, never of the database
adv = attack(model, query.images, query.labels, reference)

clean = hg.metrics.mean_average_precision(hg.encode(model, query), database).value
attacked = hg.metrics.mean_average_precision(hg.encode(model, adv.x_adv, query.labels), database).value
print(f"mainstay: MAP {clean:.3f} before, {attacked:.3f} after")
