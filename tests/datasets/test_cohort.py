"""Simulated patients follow the law that they say they do."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

import scgenot as sg


def test_cells_follow_the_law_of_their_patient():
    adata = sg.datasets.cohort(6, n_cells=6000, rng=0)
    truth = adata.uns["truth"]
    for k, name in enumerate(adata.obs["patient"].cat.categories):
        own = adata[adata.obs["patient"] == name]
        shares = own.obs["cell_type"].value_counts(normalize=True).sort_index()
        np.testing.assert_allclose(shares, truth["composition"][k], atol=4 * 0.5 / 6000**0.5)
        kinds = own.obs["cell_type"].cat.codes.to_numpy()
        cells = own.X - truth["centers"][kinds]
        # standard errors of a mean and a covariance with variances of 1 at most
        np.testing.assert_allclose(cells.mean(0), truth["mean"][k], atol=5 / 6000**0.5)
        np.testing.assert_allclose(np.cov(cells.T), truth["covariance"][k], atol=8 / 6000**0.5)


def test_one_type_makes_gaussians():
    adata = sg.datasets.cohort(3, n_cells=5, n_types=1)
    assert not adata.uns["truth"]["centers"].any()
    assert adata.obs["cell_type"].nunique() == 1


def test_the_oracle_is_that_of_many_patients():
    obs = sg.datasets.cohort(20_000, n_cells=1, dim=5, rng=1).obs
    found = roc_auc_score(obs["outcome"], obs["risk"])
    # a standard error of 20,000 patients is about .003
    assert abs(found - sg.datasets.cohort(2).uns["truth"]["auc"]) < 0.01
    assert abs(obs["outcome"].mean() - 0.5) < 0.02


def test_more_cells_are_of_the_same_patients():
    few, many = (sg.datasets.cohort(5, n_cells=n, rng=3) for n in (2, 50))
    for name in ("mean", "composition", "place"):
        np.testing.assert_array_equal(few.uns["truth"][name], many.uns["truth"][name])
    same = sg.datasets.cohort(5, n_cells=2, rng=3)
    np.testing.assert_array_equal(few.X, same.X)


def test_it_can_be_written(tmp_path):
    sg.datasets.cohort(3, n_cells=4).write_h5ad(tmp_path / "cohort.h5ad")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_patients": 1}, "`n_patients=1` must be an integer >= 2"),
        ({"dim": 4, "n_types": 3}, "`dim=4` must be an integer >= 5 for 3 cell types"),
    ],
)
def test_what_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        sg.datasets.cohort(**options)
