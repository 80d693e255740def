"""CSQ: every class has a fixed code, far from the others, and images approach it."""

import hamguard as hg

digits = hg.data("digits", size=16).train
data = hg.data(digits.images[:400], digits.labels[:400], name="some digits")
model = hg.train(data, "csq", bits=16, backbone="conv2", epochs=4, batch_size=32, out="models/csq")

query, database = hg.encode(model, data.query), hg.encode(model, data.database)
learned = hg.metrics.mean_average_precision(query, database).value
print(f"csq: MAP {learned:.3f} with 16 bits")
