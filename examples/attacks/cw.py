"""C&W on codes: the least change that turns half of the bits."""

import hamguard as hg

data = hg.data("digits")
model = hg.load("shipped:digits")
database = hg.encode(model, data.database)
query = data.query.first(20)

attack = hg.attacks.cw(steps=100)
adv = attack(model, query.images)

clean = hg.metrics.mean_average_precision(hg.encode(model, query), database).value
attacked = hg.metrics.mean_average_precision(hg.encode(model, adv.x_adv, query.labels), database).value
length = (adv.x_adv - query.images).flatten(1).norm(dim=1)
print(f"cw: MAP {clean:.3f} before, {attacked:.3f} after, with a change of {length.mean():.2f} in Euclidean length")
