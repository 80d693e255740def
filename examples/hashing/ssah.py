"""SSAH: images and texts in one space, taught by a net that reads the labels."""

import hamguard as hg

scenes = hg.data("scenes", size=16).train
assert scenes.texts is not None, "a tag sentence for every image"
data = hg.data(scenes.images[:400], scenes.labels[:400], scenes.texts[:400], name="some scenes")
model = hg.train(data, "ssah", bits=16, epochs=10, batch_size=32, out="models/ssah")

image = hg.encode(model.image, data.query), hg.encode(model.image, data.database)
learned = hg.metrics.mean_average_precision(*image).value
print(f"ssah: MAP {learned:.3f} from images to images")
