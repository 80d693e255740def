"""CIBHash: no labels; two random views of a picture get codes that find each other."""

import hamguard as hg

digits = hg.data("digits", size=16).train
data = hg.data(digits.images[:400], digits.labels[:400], name="some digits")
model = hg.train(data, "cibhash", bits=16, backbone="conv2", epochs=4, batch_size=32, out="models/cibhash")

query, database = hg.encode(model, data.query), hg.encode(model, data.database)
learned = hg.metrics.mean_average_precision(query, database).value
print(f"cibhash: MAP {learned:.3f} with 16 bits")
