"""ProS-GAN: a generator, trained once against a model, makes the attacked image in one pass."""

import hamguard as hg

digits = hg.data("digits").train
data = hg.data(digits.images[:200], digits.labels[:200], class_names=[*"0123456789"], name="some digits")
model = hg.train(data, "csq", bits=16, backbone="conv2", epochs=4, batch_size=32, out="models/csq")
hg.train(data, "prosgan", victim=model, epochs=1, out="generators/prosgan", prototype_steps=50)

rows = hg.attack(model, data, "prosgan", generator="generators/prosgan", queries=20)
found = rows.where(metric="t-map")
print("prosgan:", ", ".join(f"t-MAP {row.value:.3f}" for row in found if row.value is not None))
