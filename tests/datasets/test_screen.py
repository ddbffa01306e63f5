"""Screen: every condition has the moments of its law, which predictions have to find."""

import numpy as np
import pytest
from anndata import read_h5ad
from scipy.stats import gamma, kstest

from scgenot.datasets import screen
from scgenot.metrics import energy_distance

DOSES = (0.3, 3.0)


@pytest.fixture(scope="module")
def cells():
    return screen(1500, drugs=("A", "B"), doses=DOSES, heterogeneity=0.4)


def conditions(adata):
    treated = adata[adata.obs["drug"] != "control"]
    for (drug, dose), index in treated.obs.groupby(["drug", "dose"], observed=True).groups.items():
        yield drug, dose, treated[index]


def direction(adata, drug, dose):
    """Response of a cell of sensitivity 1 by the law, from what the data set says of it."""
    truth, embedding = adata.uns["truth"], adata.uns["embedding"]
    hill = dose ** truth["slope"] / (truth["ec50"] ** truth["slope"] + dose ** truth["slope"])
    rows = embedding.loc[drug.split("+")].to_numpy()
    product = rows.prod(0) if len(rows) == 2 else 0
    return hill * (rows.sum(0) + truth["interaction"] * product) @ truth["mechanism"]


def response(adata):
    return adata.obsm["X_latent"] - adata.obsm["X_untreated"]


def test_control_is_untreated(cells):
    control = cells[cells.obs["drug"] == "control"]
    assert (control.obs["dose"] == 0).all()
    np.testing.assert_array_equal(response(control), 0)


def test_treated_cells_were_like_control(cells):
    control = cells[cells.obs["drug"] == "control"].obsm["X_untreated"]
    for _, _, treated in conditions(cells):
        before = treated.obsm["X_untreated"]
        error = np.sqrt(control.var(0) / len(control) + before.var(0) / len(before))
        assert (abs(control.mean(0) - before.mean(0)) < 5 * error).all()


def test_moments_of_the_response_in_each_type(cells):
    """Mean `s_type * direction`; relative variance (1 + h^2)(1 + 1/4) - 1 by `u` and the lean."""
    truth = cells.uns["truth"]
    spread = (1 + truth["heterogeneity"] ** 2) * 1.25 - 1
    for drug, dose, treated in conditions(cells):
        axis = direction(cells, drug, dose)
        for sensitivity, name in zip(
            truth["sensitivity"], treated.obs["cell_type"].cat.categories, strict=True
        ):
            group = response(treated)[(treated.obs["cell_type"] == name).to_numpy()]
            along = group @ axis / (axis @ axis) / sensitivity
            np.testing.assert_allclose(group, sensitivity * along[:, None] * axis, atol=1e-9)
            assert abs(along.mean() - 1) < 4.5 * np.sqrt(spread / len(group))
            # kurtosis of the product is under 8: that of an estimated variance is under sqrt(7 / n)
            assert abs(along.var() / spread - 1) < 4.5 * np.sqrt(7 / len(group))


def test_a_given_cell_responds_by_chance(cells):
    """Over its sensitivity and direction the response of a cell is Gamma of mean 1."""
    for drug, dose, treated in conditions(cells):
        axis = direction(cells, drug, dose)
        chance = response(treated) @ axis / (axis @ axis) / treated.obs["sensitivity"].to_numpy()
        assert kstest(chance, gamma(1 / 0.4**2, scale=0.4**2).cdf).pvalue > 1e-3
    certain = screen(100, heterogeneity=0.0)
    for drug, dose, treated in conditions(certain):
        expected = treated.obs["sensitivity"].to_numpy()[:, None] * direction(certain, drug, dose)
        np.testing.assert_allclose(response(treated), expected, atol=1e-9)


def test_a_combination_is_the_sum_of_its_drugs_but_for_the_interaction():
    for interaction in (0.0, 0.5):
        cells = screen(20, drugs=("A", "B"), interaction=interaction, heterogeneity=0.0)
        per_unit = {
            drug: (response(treated) / treated.obs["sensitivity"].to_numpy()[:, None]).mean(0)
            for drug, _, treated in conditions(cells)
        }
        product = cells.uns["embedding"].prod().to_numpy() @ cells.uns["truth"]["mechanism"]
        departure = per_unit["A+B"] - per_unit["A"] - per_unit["B"]
        np.testing.assert_allclose(departure, interaction * product / 2, atol=1e-9)  # half: hill(1)


def test_the_embedding_tells_the_response_to_an_unseen_drug():
    """Linear regression of mean responses on embeddings, from 19 drugs to the twentieth."""
    cells = screen(400, drugs=20, combinations=False)
    per_unit = {
        drug: (response(treated) / treated.obs["sensitivity"].to_numpy()[:, None]).mean(0)
        for drug, _, treated in conditions(cells)
    }
    embedding = cells.uns["embedding"].to_numpy()
    mean = np.array([per_unit[drug] for drug in cells.uns["embedding"].index])
    predicted = embedding[-1] @ np.linalg.lstsq(embedding[:-1], mean[:-1], rcond=None)[0]
    # u has variance .09: each mean is known to .015 of its length, what is made of 19 of them to
    # little more
    assert (
        np.linalg.norm(predicted - mean[-1])
        < 4.5 * 0.3 / np.sqrt(400) * 1.2 * np.linalg.norm(mean, axis=1).max()
    )


def test_shifts_are_clearly_worse_than_the_law():
    """Energy distance to treated cells: of the mean shift, of that per type, and of the law itself.

    All three start from what the treated cells were, so that no other sampling error is in them.
    """
    cells = screen(1500, drugs=("A", "B"))
    rng = np.random.default_rng(0)
    for drug, dose, treated in conditions(cells):
        seen, start, shift = (
            treated.obsm["X_latent"],
            treated.obsm["X_untreated"],
            response(treated),
        )
        kind = treated.obs["cell_type"].cat.codes.to_numpy()
        by_type = np.stack([shift[kind == k].mean(0) for k in range(3)])[kind]
        chance = treated.obs["sensitivity"].to_numpy() * rng.gamma(0.3**-2, 0.3**2, size=len(start))
        law = chance[:, None] * direction(cells, drug, dose)
        plain, per_type, ceiling = (
            energy_distance(start + x, seen) for x in (shift.mean(0), by_type, law)
        )
        assert plain > 3 * per_type > 24 * ceiling


def test_expression_is_linear_in_the_latent_state(cells):
    truth = cells.uns["truth"]
    noise = cells.X - truth["baseline"] - cells.obsm["X_latent"] @ truth["loadings"]
    assert abs(noise.std() / 0.1 - 1) < 4.5 / np.sqrt(2 * noise.size)
    np.testing.assert_allclose(
        (cells.X - truth["baseline"]) @ truth["loadings"].T, cells.obsm["X_pca"], atol=1e-4
    )
    assert (cells.X > 0).mean() > 0.999


def test_the_law_does_not_depend_on_what_is_measured():
    few, many = (
        screen(5, drugs=3, combinations=False),
        screen(7, drugs=50, doses=DOSES, combinations=["D1+D2+D50"]),
    )
    np.testing.assert_array_equal(many.uns["embedding"].iloc[:3], few.uns["embedding"])
    for name, value in few.uns["truth"].items():
        np.testing.assert_array_equal(many.uns["truth"][name], value)
    assert many.obs["drug"].nunique() == 1 + 50 + 1
    assert len(many) == 7 * (1 + 51 * 2)


def test_same_seed_same_cells_and_files_keep_them(tmp_path):
    first, again, other = (screen(10, rng=seed) for seed in (0, 0, 1))
    assert np.array_equal(first.X, again.X)
    assert not np.array_equal(first.X, other.X)
    first.write_h5ad(tmp_path / "cells.h5ad")
    read = read_h5ad(tmp_path / "cells.h5ad")
    assert read.obs.equals(first.obs)
    assert read.uns["embedding"].equals(first.uns["embedding"])
    np.testing.assert_array_equal(read.uns["truth"]["mechanism"], first.uns["truth"]["mechanism"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"drugs": ("A", "A")}, "`drugs="),
        ({"drugs": ("A", "control")}, "`drugs="),
        ({"drugs": ("A+B",)}, "`drugs="),
        ({"drugs": ()}, "`drugs="),
        ({"combinations": ["A+Z"]}, "`combinations`"),
        ({"combinations": ["A+A"]}, "`combinations`"),
        ({"combinations": ["A"]}, "`combinations`"),
        ({"combinations": ["A+B", "B+A"]}, "`combinations="),
        ({"doses": (0.0, 1.0)}, "`doses="),
        ({"doses": (np.nan,)}, "`doses="),
        ({"doses": ()}, "`doses="),
        ({"n_genes": 7}, "`n_genes=7`"),
    ],
)
def test_what_cannot_be_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        screen(5, **options)
