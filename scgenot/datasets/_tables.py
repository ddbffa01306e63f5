"""Tables of counts as they are published."""

from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse


def features_by_cells(file: Path) -> AnnData:
    """Read text with a column for each cell and a line for each feature as sparse counts."""
    table = pd.read_csv(file, index_col=0, low_memory=False)
    counts = sparse.csr_matrix(table.to_numpy(np.float32).T)
    cells, features = (pd.DataFrame(index=list(names)) for names in (table.columns, table.index))
    return AnnData(counts, obs=cells, var=features)
