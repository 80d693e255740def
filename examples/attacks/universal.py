"""Universal: one perturbation for all images, fitted on images that the model learned from."""

import hamguard as hg

data = hg.data("digits")
rows = hg.attack("shipped:digits", data, "universal", budget=hg.Budget(hg.Linf(0.2), steps=20), queries=20)

found = {row.attack["method"]: row.value for row in rows.where(metric="map") if row.attack is not None}
print(f"universal: MAP {found['noise']:.3f} with noise of this size, {found['universal']:.3f} with the perturbation")
