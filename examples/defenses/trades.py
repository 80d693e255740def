"""TRADES: bits are coins, whose divergence under attack is kept small; no labels."""

import hamguard as hg

digits = hg.data("digits")
data = hg.data(digits.train.images[:200], digits.train.labels[:200], name="some digits")
model = hg.load("shipped:digits")
safe = hg.harden(model, data, "trades", threat=hg.Linf(0.1), epochs=2, batch_size=32, out="models/trades")

query = digits.query.first(20)
attack = hg.attacks.pgd(steps=10, threat=hg.Linf(0.1))
for one in (model, safe):
    turned = float((one.code(attack(one, query.images).x_adv) != one.code(query.images)).float().sum(1).mean())
    kept = hg.metrics.mean_average_precision(hg.encode(one, query), hg.encode(one, digits.database)).value
    print(f"trades: MAP {kept:.3f}; an attack turns {turned:.1f} of {one.bits} bits")
