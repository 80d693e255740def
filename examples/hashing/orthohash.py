"""OrthoHash: cosines to fixed codes of classes are the scores of a softmax; a batch norm balances the bits."""

import hamguard as hg

digits = hg.data("digits", size=16).train
data = hg.data(digits.images[:400], digits.labels[:400], name="some digits")
model = hg.train(data, "orthohash", bits=16, backbone="conv2", epochs=4, batch_size=32, out="models/orthohash")

query, database = hg.encode(model, data.query), hg.encode(model, data.database)
learned = hg.metrics.mean_average_precision(query, database).value
print(f"orthohash: MAP {learned:.3f} with 16 bits")
