"""GreedyHash: the sign stands in the network while it learns, and the gradient goes straight through it."""

import hamguard as hg

digits = hg.data("digits", size=16).train
data = hg.data(digits.images[:400], digits.labels[:400], name="some digits")
model = hg.train(data, "greedyhash", bits=16, backbone="conv2", epochs=4, batch_size=32, out="models/greedyhash")

query, database = hg.encode(model, data.query), hg.encode(model, data.database)
learned = hg.metrics.mean_average_precision(query, database).value
print(f"greedyhash: MAP {learned:.3f} with 16 bits")
