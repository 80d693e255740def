"""The prototype code: what a small net learned for the label."""

import hamguard as hg

data = hg.data("digits")
model = hg.load("shipped:digits")
database = hg.encode(model, data.database)
query = data.query.first(20)

attack = hg.attacks.pgd(steps=10, guide=hg.attacks.PrototypeCode(steps=50), threat=hg.Linf(0.2))
reference = hg.encode(
    model, data.train.first(300)
)  # codes of images that the model learned from, never of the database
adv = attack(model, query.images, query.labels, reference)

clean = hg.metrics.mean_average_precision(hg.encode(model, query), database).value
attacked = hg.metrics.mean_average_precision(hg.encode(model, adv.x_adv, query.labels), database).value
print(f"prototype: MAP {clean:.3f} before, {attacked:.3f} after")
