"""Growth from genes: the formula by hand, what raises and lowers it, and what is refused."""

import logging

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData, read_h5ad
from scipy import sparse

from scgenot.cells.gene_sets import APOPTOSIS, PROLIFERATION
from scgenot.tl import score_growth

COLUMNS = ["growth_rate", "growth_rate_proliferation", "growth_rate_apoptosis"]


def test_formula_by_hand():
    """Two levels of expression, one for each set; other genes of a level are alike in a cell."""
    births, deaths = [f"birth{i}" for i in range(5)], [f"death{i}" for i in range(6)]
    low, high = [f"low{i}" for i in range(60)], [f"high{i}" for i in range(60)]
    # multiples of 1/4, of mean 0 over cells: the genes of a level have exactly the same mean
    level = np.array([1.0, 2.5, 4.0, 2.0])
    divides, dies = np.array([0.25, -0.25, 0.5, -0.5]), np.array([-0.25, 0.5, 0.0, -0.25])
    values = pd.DataFrame(
        {
            **dict.fromkeys(low, level),
            **dict.fromkeys(births, level + divides),
            **dict.fromkeys(high, level + 1),
            **dict.fromkeys(deaths, level + 1 + dies),
        }
    )
    adata = AnnData(values.to_numpy(), var=pd.DataFrame(index=values.columns))
    score_growth(adata, proliferation=births, apoptosis=deaths, birth=(0.3, 1.7), death=(0.1, 1.1))
    np.testing.assert_allclose(adata.obs["growth_rate_proliferation"], divides, atol=1e-12)
    np.testing.assert_allclose(adata.obs["growth_rate_apoptosis"], dies, atol=1e-12)
    # first cell: at the centre of births, 3.5 half-widths of the curve below that of deaths
    assert adata.obs["growth_rate"].iloc[0] == pytest.approx(1.0 - (0.1 + 1 / (1 + np.exp(7))))
    birth = 0.3 + 1.4 / (1 + np.exp(-8 * (divides - 0.25)))
    death = 0.1 + 1.0 / (1 + np.exp(-20 * (dies - 0.1)))
    np.testing.assert_allclose(adata.obs["growth_rate"], birth - death)


@pytest.fixture
def cells():
    """Sparse log values of 90 cells and the genes of both sets; 30 divide, the next 30 die."""
    rng = np.random.default_rng(0)
    genes = [*dict.fromkeys([*PROLIFERATION, *APOPTOSIS]), *(f"GENE{i}" for i in range(1400))]
    values = np.log1p(rng.poisson(rng.gamma(2.0, 1.0, len(genes)), (90, len(genes))) / 2)
    values[:30, : len(PROLIFERATION)] += 0.7
    values[30:60, len(PROLIFERATION) :][:, : len(APOPTOSIS)] += 0.5
    return AnnData(
        sparse.csr_matrix(values.astype(np.float32)),
        obs=pd.DataFrame(index=[f"cell{i}" for i in range(90)]),
        var=pd.DataFrame(index=genes),
    )


def test_dividing_cells_grow_and_dying_cells_shrink(cells):
    score_growth(cells)
    divide, die, rest = (cells.obs["growth_rate"].iloc[rows] for rows in np.split(np.arange(90), 3))
    assert divide.min() > rest.max()
    assert die.max() < rest.min()
    assert divide.median() > 0.5
    assert die.median() < -0.5
    # a score of 0 gives both rates the same value
    assert abs(rest.median()) < 0.1


def test_rates_are_per_unit_of_time(cells):
    days = score_growth(cells, copy=True).obs["growth_rate"]
    hours = score_growth(
        cells, birth=(0.3 / 24, 1.7 / 24), death=(0.3 / 24, 1.7 / 24), copy=True
    ).obs["growth_rate"]
    np.testing.assert_allclose(hours, days / 24)
    assert days.between(-1.4, 1.4).all()


def test_mouse_symbols(cells):
    human = score_growth(cells, copy=True).obs[COLUMNS]
    cells.var_names = cells.var_names.str.capitalize()
    assert "Casp8ap2" in cells.var_names
    score_growth(cells, organism="mouse")
    pd.testing.assert_frame_equal(cells.obs[COLUMNS], human)


def test_a_set_left_out_scores_0(cells):
    score_growth(cells, apoptosis=[])
    assert (cells.obs["growth_rate_apoptosis"] == 0).all()
    assert (cells.obs["growth_rate"].iloc[:30].min() > cells.obs["growth_rate"].iloc[30:]).all()


def test_layer_dense_view_copy_and_file(cells, tmp_path):
    expected = score_growth(cells, copy=True).obs[COLUMNS]
    assert list(cells.obs) == []
    other = cells.copy()
    other.layers["log"] = other.X.toarray()
    other.X = sparse.csr_matrix(other.shape)
    score_growth(other, layer="log")
    pd.testing.assert_frame_equal(other.obs[COLUMNS], expected, atol=1e-6)
    view = cells[:]
    score_growth(view)
    pd.testing.assert_frame_equal(view.obs[COLUMNS], expected)
    view.write_h5ad(tmp_path / "cells.h5ad")
    pd.testing.assert_frame_equal(read_h5ad(tmp_path / "cells.h5ad").obs[COLUMNS], expected)


def test_same_seed_same_rates_and_the_users_random_numbers_stay(cells):
    np.random.seed(5)  # noqa: NPY002
    expected = np.random.random()  # noqa: NPY002
    np.random.seed(5)  # noqa: NPY002
    first, again, other = (
        score_growth(cells, rng=seed, copy=True).obs["growth_rate"] for seed in (0, 0, 1)
    )
    assert np.random.random() == expected  # noqa: NPY002
    assert first.equals(again)
    assert not first.equals(other)


def test_missing_genes_are_named_in_the_log(cells, caplog):
    with caplog.at_level(logging.INFO, logger="scgenot"):
        score_growth(cells[:, cells.var_names != "PCNA"].copy())
    assert "not there: PCNA" in caplog.text


def test_sets_are_those_of_their_sources():
    assert len(PROLIFERATION) == 43 + 54 + 3  # three under two names
    assert len(APOPTOSIS) == 27
    assert len(set(PROLIFERATION)) == len(PROLIFERATION)
    assert not set(PROLIFERATION) & set(APOPTOSIS)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"organism": "mouse"},
            ValueError,
            r"0 of the 100 genes of `proliferation`.*Mcm5.*such as MCM5.*`organism`",
        ),
        ({"organism": "yeast"}, ValueError, "`organism='yeast'`"),
        (
            {"proliferation": ["PCNA", "MKI67", "no", "none"]},
            ValueError,
            "2 of the 4 genes of `proliferation`",
        ),
        ({"apoptosis": "BAX"}, ValueError, "1 of the 1 genes of `apoptosis`"),
        ({"birth": (1.7, 0.3)}, ValueError, "`birth`"),
        ({"death": (0.3, np.nan)}, ValueError, "`death`"),
        ({"layer": "none"}, KeyError, "`layer='none'`"),
        ({"key_added": "a/b"}, ValueError, "`key_added`"),
    ],
)
def test_refused_and_unchanged(cells, options, error, message):
    with pytest.raises(error, match=message):
        score_growth(cells, **options)
    assert list(cells.obs) == []


def test_unfit_values_are_refused(cells):
    counts = cells.copy()
    counts.X = counts.X.ceil()
    with pytest.raises(ValueError, match=r"looks like raw counts.*log1p"):
        score_growth(counts)
    few = cells[:, :49].copy()
    with pytest.raises(ValueError, match="49 genes"):
        score_growth(few)
    only = cells[:, list(PROLIFERATION)].copy()
    with pytest.raises(ValueError, match="`proliferation` leaves no control genes"):
        score_growth(only)
    broken = cells.copy()
    broken.X.data[3] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        score_growth(broken)
    twice = cells.copy()
    twice.var_names = ["PCNA", *twice.var_names[1:]]
    with pytest.raises(ValueError, match="not unique"):
        score_growth(twice)
    assert all(list(adata.obs) == [] for adata in (counts, few, only, broken, twice))
