"""DSPH: images and texts in one space, each near the learned proxies of its labels."""

import hamguard as hg

scenes = hg.data("scenes", size=16).train
assert scenes.texts is not None, "a tag sentence for every image"
data = hg.data(scenes.images[:400], scenes.labels[:400], scenes.texts[:400], name="some scenes")
model = hg.train(data, "dsph", bits=16, epochs=10, batch_size=32, out="models/dsph")

image = hg.encode(model.image, data.query), hg.encode(model.image, data.database)
learned = hg.metrics.mean_average_precision(*image).value
print(f"dsph: MAP {learned:.3f} from images to images")
