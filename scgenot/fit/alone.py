"""A model without its fit."""

import numpy as np
import pandas as pd
from anndata import AnnData

from scgenot.pair import Question


class Alone:
    """The task of a model without its fit: every cell is a source, nothing can be asked."""

    name = "model"

    def ask(self, adata: AnnData, target=None, *, dose=None) -> Question:
        """Ask every cell for its targets."""
        if target is not None or dose is not None:
            raise ValueError(
                f"`target={target!r}` or `dose={dose!r}` was given, but `model` has no fit: pass "
                "the fitted AnnData, `model=adata`."
            )
        return Question(np.arange(adata.n_obs))

    def to_dict(self) -> dict:
        """Return nothing: there is no fit."""
        return {}


def bare(cls, model, key: str):
    """Return the fit of a model alone."""
    if getattr(model, "condition_dim", 0):
        raise ValueError(
            "`model` has no fit, but needs conditions: pass the fitted AnnData, `model=adata`."
        )
    return cls(Alone(), history=pd.DataFrame(), key=key, make_model=lambda: model)
