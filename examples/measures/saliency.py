"""Saliency: how an attack moves the explanation of a code, beside noise of the same size."""

import hamguard as hg

data = hg.data("digits")
budget = hg.Budget(hg.Linf(0.1), steps=5)
found = hg.measure(["shipped:digits", "shipped:digits-hard"], data, budget, measures=["saliency"], queries=4)

for model, lines in found.lines.items():
    for name, line in lines.items():
        print(f"{model}, {name}: {line.row.value:.3f} ({line.robust} is more robust)")
