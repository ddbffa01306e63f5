"""What the demonstration says in words."""

import numpy as np
import pandas as pd
from anndata import AnnData

from scgenot.__main__ import LABELS, doubtful


def test_types_not_to_be_believed_are_named():
    labels = pd.DataFrame({LABELS: ["B"] * 3 + ["T"] * 3}, index=[f"c{i}" for i in range(6)])
    source, target = AnnData(obs=labels), AnnData(obs=labels.copy())
    mass = np.eye(6)
    source.obsm["genot_coupling"] = mass
    assert doubtful(source, target) == "No cell type has more than 20% of its mass at another one."
    mass[3, 3], mass[3, 0] = 0, 1
    source.obsm["genot_coupling"] = mass
    assert doubtful(source, target).splitlines() == [
        "Do not trust the translated cells of these types:",
        "  T (n=3; 33% of its mass goes to B)",
    ]
