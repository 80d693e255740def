"""EfficientNet-Lite0: ImageNet features, hashed by ITQ without labels, beside the same network with random weights."""

import hamguard as hg

print(f"{hg.models(['efficientnet_lite0'])[0].parameters:,} weights")
scenes = hg.data("scenes", size=96).train
data = hg.data(scenes.images[:300], scenes.labels[:300], name="some scenes")
found = {}
for weights in ("pretrained", "none"):
    model = hg.train(data, "itq", bits=32, backbone="efficientnet_lite0", weights=weights, out=f"models/{weights}")
    query, database = hg.encode(model, data.query), hg.encode(model, data.database)
    found[weights] = hg.metrics.mean_average_precision(query, database).value
    print(f"{weights}: MAP {found[weights]:.3f} with 32 bits")
