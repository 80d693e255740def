"""DPN: every bit is pushed beyond a margin, to the side where its class's random target lies."""

import hamguard as hg

digits = hg.data("digits", size=16).train
data = hg.data(digits.images[:400], digits.labels[:400], name="some digits")
model = hg.train(data, "dpn", bits=16, backbone="conv2", epochs=4, batch_size=32, out="models/dpn")

query, database = hg.encode(model, data.query), hg.encode(model, data.database)
learned = hg.metrics.mean_average_precision(query, database).value
print(f"dpn: MAP {learned:.3f} with 16 bits")
