"""Bi-half: no labels; every bit splits each batch in halves, and codes are as similar as features."""

import hamguard as hg

digits = hg.data("digits", size=16).train
data = hg.data(digits.images[:400], digits.labels[:400], name="some digits")
model = hg.train(data, "bihalf", bits=16, backbone="conv2", epochs=4, batch_size=32, out="models/bihalf")

query, database = hg.encode(model, data.query), hg.encode(model, data.database)
learned = hg.metrics.mean_average_precision(query, database).value
print(f"bihalf: MAP {learned:.3f} with 16 bits")
