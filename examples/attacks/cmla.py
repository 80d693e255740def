"""CMLA: an image stops finding its texts, while it still finds other images."""

import hamguard as hg

scenes = hg.data("scenes", size=16).train
assert scenes.texts is not None, "a tag sentence for every image"
data = hg.data(scenes.images[:400], scenes.labels[:400], scenes.texts[:400], name="some scenes")
model = hg.train(data, "dcmh", bits=16, epochs=8, batch_size=32, out="models/dcmh")

rows = hg.attack(model, data, "cmla", budget=hg.Budget(hg.Linf(0.1), steps=20), queries=20)
for row in rows.where(metric="map"):
    print(f"cmla: {row.task}, {'clean' if row.attack is None else row.attack['method']}: MAP {row.value:.3f}")
