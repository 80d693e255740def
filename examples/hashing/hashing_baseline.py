"""Hashing-Baseline: no labels, no training; principal components under a random rotation."""

import hamguard as hg

digits = hg.data("digits", size=16).train
data = hg.data(digits.images[:400], digits.labels[:400], name="some digits")
model = hg.train(data, "hashing-baseline", bits=16, backbone="conv2", out="models/baseline")

query, database = hg.encode(model, data.query), hg.encode(model, data.database)
learned = hg.metrics.mean_average_precision(query, database).value
print(f"hashing-baseline: MAP {learned:.3f} with 16 bits")
