"""HashNet: the slope of tanh grows while it learns, so that codes come by continuation."""

import hamguard as hg

digits = hg.data("digits", size=16).train
data = hg.data(digits.images[:400], digits.labels[:400], name="some digits")
model = hg.train(data, "hashnet", bits=16, backbone="conv2", epochs=4, batch_size=32, out="models/hashnet")

query, database = hg.encode(model, data.query), hg.encode(model, data.database)
learned = hg.metrics.mean_average_precision(query, database).value
print(f"hashnet: MAP {learned:.3f} with 16 bits")
