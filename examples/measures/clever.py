"""CLEVER: an estimate of the least budget that turns a bit, from sampled gradients."""

import hamguard as hg

data = hg.data("digits")
budget = hg.Budget(hg.Linf(0.1), steps=5)
found = hg.measure(["shipped:digits", "shipped:digits-hard"], data, budget, measures=["clever"], queries=2)

for model, lines in found.lines.items():
    for name, line in lines.items():
        figure = "not reached" if line.row.value is None else f"{line.row.value:.3f}"
        print(f"{model}, {name}: {figure} ({line.robust} is more robust)")
