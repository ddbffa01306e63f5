"""Populations fitted and generated in AnnData."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import scgenot as sg

N, CELLS, D = 12, 30, 3


def cohort(seed: int = 0) -> ad.AnnData:
    """Patients with a dose and a diagnosis; half of the cells of each are treated, and move."""
    rng = np.random.default_rng(seed)
    dose, sick = rng.uniform(0, 2, N), np.arange(N) % 2 == 0
    who = np.repeat(np.arange(N), CELLS)
    treated = np.arange(N * CELLS) % 2 == 1
    cells = rng.normal(size=(N * CELLS, D))
    cells += np.stack([dose, sick, rng.normal(size=N)], 1)[who]
    cells[:, 2] += 2 * treated
    obs = pd.DataFrame(
        {
            "patient": pd.Categorical([f"p{k}" for k in who]),
            "dose": dose[who],
            "diagnosis": np.where(sick, "T2D", "none")[who],
            "treatment": np.where(treated, "drug", "none"),
        },
        index=[f"c{k}" for k in range(len(cells))],
    )
    mixed = cells @ np.random.default_rng(9).normal(size=(D, 4))
    genes = np.hstack([cells, mixed]).astype(np.float32)
    adata = ad.AnnData(genes, obs=obs)
    sg.tl.embed(adata, n_components=D)
    return adata


@pytest.fixture
def adata():
    return cohort()


def fitted(adata, *args, **options):
    sg.tl.fit_populations(adata, "patient", *args, progress=False, **options)
    return adata


def test_new_populations_go_with_the_measured_ones(adata, tmp_path):
    fitted(adata, condition=["dose", "diagnosis"])
    new = sg.tl.simulate_populations(adata, {"dose": 1.5, "diagnosis": "T2D"}, n_populations=3)
    assert new.n_obs == 3 * CELLS
    assert list(new.obs["patient"].unique()) == ["simulated_1", "simulated_2", "simulated_3"]
    assert set(new.obs["diagnosis"]) == {"T2D"}
    assert (new.obs["populations_origin"] == "simulated").all()
    # decoded to genes, by the embedding
    expected = sg.tl.decode(new.obsm["X_pca"], adata, key="pca")
    np.testing.assert_allclose(new.X, expected, atol=1e-5)
    both = ad.concat([adata, new], join="outer")
    both.write_h5ad(tmp_path / "both.h5ad")
    assert both.obs["dose"].dtype == adata.obs["dose"].dtype


def test_means_follow_the_conditions(adata):
    fitted(adata, condition=["dose", "diagnosis"])
    asked = [{"dose": d, "diagnosis": s} for d in (0.0, 2.0) for s in ("none", "T2D")]
    new = sg.tl.simulate_populations(adata, asked, n_populations=40, n_cells=50)
    means = new.to_df().iloc[:, :2].groupby([new.obs["dose"], new.obs["diagnosis"]]).mean()
    # 12 patients of 30 cells: standard errors of a mean are about .1
    np.testing.assert_allclose(means.loc[2.0] - means.loc[0.0], [[2, 0], [2, 0]], atol=0.7)
    moved = means.xs("T2D", level=1) - means.xs("none", level=1)
    np.testing.assert_allclose(moved, [[0, 1], [0, 1]], atol=0.7)


def test_conditions_are_drawn_where_none_is_asked_for(adata):
    fitted(adata, condition="dose")
    new = sg.tl.simulate_populations(adata, n_populations=30, n_cells=2)
    assert set(new.obs["dose"]) <= set(adata.obs["dose"])
    assert new.obs["dose"].nunique() > 5


def test_after_a_file(adata, tmp_path):
    fitted(adata, condition="diagnosis")
    before = sg.tl.simulate_populations(adata, {"diagnosis": "none"}, rng=2)
    adata.write_h5ad(tmp_path / "a.h5ad")
    read = ad.read_h5ad(tmp_path / "a.h5ad")
    after = sg.tl.simulate_populations(read, {"diagnosis": "none"}, rng=2)
    np.testing.assert_array_equal(before.X, after.X)
    sg.get.model(read, "populations").save(tmp_path / "m.safetensors")
    path = tmp_path / "m.safetensors"
    once = sg.tl.simulate_populations(read, {"diagnosis": "none"}, rng=2, model=path)
    np.testing.assert_array_equal(before.X, once.X)
    assert "12 populations of 'patient'" in repr(sg.get.fit(read, "populations"))
    assert sg.get.params(read, "populations")["population_key"] == "patient"


def test_a_paired_population_is_generated_from_its_partner(adata):
    fitted(adata, paired_with={"treatment": "none"})
    new = sg.tl.simulate_populations(adata)
    assert set(new.obs["treatment"]) == {"drug"}
    assert new.obs["source_population"].nunique() == N
    found = new.to_df().iloc[:, :3].groupby(new.obs["source_population"], observed=True).mean()
    drug = adata[adata.obs["treatment"] == "drug"]
    true = drug.to_df().iloc[:, :3].groupby(drug.obs["patient"], observed=True).mean()
    # means of 15 cells, of both sides: .37, times 4
    assert np.abs(found - true.loc[found.index]).to_numpy().max() < 1.5
    # from new patients, whose treated cells are not there
    other = cohort(1)
    other = other[other.obs["treatment"] == "none", :].copy()
    del other.obsm["X_pca"], other.uns["pca"], other.varm["PCs"]
    answer = sg.tl.simulate_populations(other, model=adata, n_populations=2, n_cells=5)
    assert answer.n_obs == N * 2 * 5
    moved = answer.to_df().iloc[:, 2].mean() - other.to_df().iloc[:, 2].mean()
    assert abs(moved - 2) < 0.5


def test_several_labels_beside_that_of_the_partner_are_a_condition(adata):
    adata.obs["treatment"] = np.array(["none", "A", "B"])[np.arange(adata.n_obs) % 3]
    fitted(adata, paired_with={"treatment": "none"})
    new = sg.tl.simulate_populations(adata, {"treatment": "B"}, n_cells=4)
    assert set(new.obs["treatment"]) == {"B"}
    assert new.n_obs == 4 * N
    with pytest.raises(ValueError, match="`condition` is needed: the fit has the columns"):
        sg.tl.simulate_populations(adata)


def test_populations_without_a_partner_are_left_out(adata):
    kept = (adata.obs["patient"] != "p3") | (adata.obs["treatment"] == "drug")
    adata = adata[kept.to_numpy()].copy()
    with pytest.warns(UserWarning, match="1 populations have no cells with 'treatment' = none"):
        fitted(adata, paired_with={"treatment": "none"})
    assert len(sg.get.fit(adata, "populations").table) == N - 1


def test_x_holds_coordinates_where_nothing_decodes(adata):
    adata.obsm["X_own"] = adata.obsm["X_pca"][:, :2] ** 2
    fitted(adata, use_rep="X_own")
    new = sg.tl.simulate_populations(adata)
    np.testing.assert_array_equal(new.X, new.obsm["X_own"])
    assert list(new.var_names) == ["X_own_1", "X_own_2"]


@pytest.mark.filterwarnings("ignore:.*have at most")
def test_bad_input(adata):
    with pytest.raises(KeyError, match="`population_key='who'` is not in obs"):
        sg.tl.fit_populations(adata, "who")
    with pytest.raises(ValueError, match="at least 3 are needed"):
        fitted(adata[adata.obs["patient"].isin(["p0", "p1"])].copy())
    with pytest.raises(ValueError, match="`condition='treatment'` varies within"):
        fitted(adata, condition="treatment")
    with pytest.raises(ValueError, match="`condition` contains 'patient'"):
        fitted(adata, condition="patient")
    with pytest.raises(KeyError, match="`condition='sex'` is not in obs"):
        fitted(adata, condition="sex")
    for wrong in ({"treatment": "placebo"}, {}, {"treatment": "none", "dose": 1}):
        with pytest.raises(ValueError, match="`paired_with="):
            fitted(adata, paired_with=wrong)
    with pytest.raises(ValueError, match=r"`paired_with=.*have cells on both sides"):
        fitted(adata, paired_with={"diagnosis": "none"})
    bad = adata.copy()
    bad.obsm["X_pca"][3, 0] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        fitted(bad)
    for wrong, said in (
        (sg.model.FlowMatching(), "does not learn this task: pass `sg.model.Gauss"),
        (sg.model.GaussianPopulations, r"is a class: pass `GaussianPopulations\(\)`"),
    ):
        with pytest.raises(TypeError, match=said):
            fitted(adata, learner=wrong)
    with pytest.raises(TypeError, match=r"does not learn this task: pass `sg.model.Flow"):
        sg.tl.fit_perturbation(
            adata, "treatment", "none", learner=sg.model.CloudPopulations(), progress=False
        )
    assert "populations" not in adata.uns


def test_bad_questions(adata):
    fitted(adata, condition="diagnosis")
    for wrong in ({"dose": 1}, {"diagnosis": "T2D", "dose": 1}, []):
        with pytest.raises(ValueError, match="`condition` has "):
            sg.tl.simulate_populations(adata, wrong)
    with pytest.raises(KeyError, match="which no fitted population has; known are"):
        sg.tl.simulate_populations(adata, {"diagnosis": "T1D"})
    with pytest.raises(ValueError, match="`n_cells=0`"):
        sg.tl.simulate_populations(adata, n_cells=0)
    with pytest.raises(ValueError, match=r"`n_populations=1000000000000` asks for .* GB"):
        sg.tl.simulate_populations(adata, n_populations=10**12)
    with pytest.raises(ValueError, match=r"`n_cells=1000000000000` asks for .* GB"):
        sg.tl.simulate_populations(adata, n_cells=10**12)
    with pytest.raises(TypeError, match=r"'diagnosis'.* is not one value: give a list"):
        sg.tl.simulate_populations(adata, {"diagnosis": ["T2D", "none"]})
    with pytest.raises(ValueError, match="is a fit of populations, not of cells"):
        sg.tl.predict(adata, key="populations")
    with pytest.raises(KeyError, match="is not a fit in uns"):
        sg.tl.simulate_populations(adata, key="other")
    sg.tl.embed(adata, n_components=2)
    with pytest.raises(ValueError, match="is not what it was at the fit"):
        sg.tl.simulate_populations(adata, {"diagnosis": "T2D"})


def test_columns_may_be_gone_after_the_fit(adata):
    fitted(adata, condition="diagnosis", paired_with={"treatment": "none"})
    control = adata[adata.obs["treatment"] == "none"].copy()
    del control.obs["treatment"], control.obs["diagnosis"]
    new = sg.tl.simulate_populations(control, {"diagnosis": "T2D"}, n_cells=3)
    assert set(new.obs["treatment"]) == {"drug"}
    assert set(new.obs["diagnosis"]) == {"T2D"}
    assert new.n_obs == 3 * N


def test_a_number_is_asked_for_as_a_number(adata):
    fitted(adata, condition="dose")
    with pytest.raises(ValueError, match="must be a number"):
        sg.tl.simulate_populations(adata, {"dose": "high"})


def test_damage_is_named(adata):
    fitted(adata)
    del adata.uns["populations"]["params"]["conditions"]
    with pytest.raises(ValueError, match="is damaged"):
        sg.tl.simulate_populations(adata)


def test_few_cells_are_fitted_with_a_warning(adata):
    few = adata[np.arange(adata.n_obs) % CELLS < 2].copy()
    with pytest.warns(UserWarning, match="populations have at most 3 cells"):
        fitted(few)
    assert np.isfinite(sg.tl.simulate_populations(few).X).all()


@pytest.mark.parametrize("kind", ["gaussian", "cloud"])
def test_the_order_of_cells_means_nothing(adata, kind):
    """To the bit, whatever is learned."""
    learner = sg.model.CloudPopulations(steps=2, width=8, depth=1) if kind == "cloud" else None
    order = np.random.default_rng(0).permutation(adata.n_obs)
    found = []
    for cells in (adata, adata[order].copy()):
        fitted(cells, condition="dose", kind=kind, learner=learner)
        found.append(sg.tl.simulate_populations(cells, {"dose": 1.0}, n_cells=7).obsm["X_pca"])
    np.testing.assert_array_equal(*found)


def test_clouds_in_anndata(adata, tmp_path):
    learner = sg.model.CloudPopulations(steps=3, width=8, depth=1)
    fitted(adata, condition="diagnosis", kind="cloud", learner=learner)
    asked = {"condition": {"diagnosis": "T2D"}, "n_populations": 2, "guidance": 1.5}
    new = sg.tl.simulate_populations(adata, n_cells=8, **asked)
    assert new.n_obs == 16
    adata.write_h5ad(tmp_path / "a.h5ad")
    again = sg.tl.simulate_populations(ad.read_h5ad(tmp_path / "a.h5ad"), n_cells=8, **asked)
    np.testing.assert_array_equal(new.X, again.X)
    fitted(adata, kind="cloud", learner=learner, paired_with={"treatment": "none"})
    assert set(sg.tl.simulate_populations(adata).obs["treatment"]) == {"drug"}
    fitted(adata)
    with pytest.raises(ValueError, match=r"`guidance=2\.0` needs a fit with `kind='cloud'`"):
        sg.tl.simulate_populations(adata, guidance=2.0)


@pytest.mark.parametrize("dtype", ["int64", "float64", "category", "Int64"])
def test_populations_named_by_numbers_get_numbers(adata, tmp_path, dtype):
    adata.obs["patient"] = adata.obs["patient"].str[1:].astype(int).astype(dtype)
    fitted(adata, learner=sg.model.GaussianPopulations(steps=0))
    new = sg.tl.simulate_populations(adata, n_populations=2, n_cells=5)
    assert list(new.obs["patient"].unique()) == [N, N + 1]
    both = ad.concat([adata, new], join="outer")
    both.write_h5ad(tmp_path / "both.h5ad")
    found = ad.read_h5ad(tmp_path / "both.h5ad")
    assert sorted(map(float, found.obs["patient"].unique())) == list(range(N + 2))
