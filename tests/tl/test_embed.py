"""Embeddings: coordinates, projection of new cells, and the way back to features."""

import logging

import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from anndata import AnnData, read_h5ad, read_zarr
from scipy import sparse

from realdata import load
from scgenot.cells.embedding import Embedding
from scgenot.model import FlowMatching
from scgenot.ot import GromovWasserstein
from scgenot.tl import coupling, decode, embed, fit_translation, project

METHODS = ("pca", "lsi", "topics", "clr")


@pytest.fixture
def counts():
    """Sparse counts of 60 cells in three types, 25 features: one is never seen, one constant."""
    rng = np.random.default_rng(0)
    rates = rng.gamma(1.0, 3.0, (3, 25))[rng.integers(3, size=60)] * rng.gamma(4.0, 0.25, (60, 1))
    values = rng.poisson(rates).astype(np.float32)
    values[:, 3], values[:, 7] = 0, 2
    return AnnData(
        sparse.csr_matrix(values),
        obs=pd.DataFrame(index=[f"cell{i}" for i in range(60)]),
        var=pd.DataFrame(index=[f"gene{i}" for i in range(25)]),
    )


@pytest.fixture
def cells(counts):
    """The same with log-normalised values in X and the counts in a layer."""
    counts.layers["counts"] = counts.X.copy()
    sc.pp.log1p(counts)
    return counts


@pytest.fixture
def deep():
    """Counts of one profile at depths that vary a thousandfold: `log(1 + .)` mostly tells depth."""
    rng = np.random.default_rng(1)
    depth = 10 ** rng.uniform(0.5, 3.5, (200, 1))
    return AnnData(rng.poisson(depth * rng.dirichlet(np.ones(25))) + np.eye(200, 25))


def run(cells, method, **options):
    layer = None if method == "pca" else "counts"
    embed(cells, method=method, n_components=5, layer=layer, **{"adjust": False} | options)


def dense(values):
    return values.toarray() if sparse.issparse(values) else np.asarray(values)


def scale(values):
    return np.abs(values).max()


def snapshot(adata):
    return {
        slot: set(getattr(adata, slot)) for slot in ("obsm", "varm", "uns", "obs", "var", "layers")
    }


class TestCoordinates:
    def test_pca_is_scanpys(self, cells):
        embed(cells, n_components=5, adjust=False)
        reference = sc.pp.pca(cells, n_comps=5, copy=True)
        np.testing.assert_array_equal(cells.obsm["X_pca"], reference.obsm["X_pca"])
        np.testing.assert_array_equal(cells.varm["PCs"], reference.varm["PCs"])
        np.testing.assert_array_equal(
            cells.uns["pca"]["variance_ratio"], reference.uns["pca"]["variance_ratio"]
        )

    def test_lsi_by_hand(self, counts):
        embed(counts, method="lsi", n_components=4, adjust=False)
        x = dense(counts.X).astype(float)
        total = x.sum(0)
        idf = np.where(total > 0, len(x) / np.where(total > 0, total, 1), 0)
        values = np.log(1 + 1e4 * x / x.sum(1, keepdims=True) * idf)
        _, _, components = np.linalg.svd(values, full_matrices=False)
        kept = np.setdiff1d(np.arange(4), counts.uns["lsi"]["dropped"])
        expected = values @ components[kept].T
        found = counts.obsm["X_lsi"]
        signs = np.sign((expected * found).sum(0))
        np.testing.assert_allclose(found * signs, expected, atol=1e-4 * scale(expected))

    def test_lsi_drops_depth(self, deep, caplog):
        with caplog.at_level(logging.INFO, logger="scgenot"):
            embed(deep, method="lsi", n_components=6)
        stored = deep.uns["lsi"]
        assert len(stored["dropped"]) > 0
        assert deep.obsm["X_lsi"].shape == (200, 6 - len(stored["dropped"]))
        dropped = np.abs(stored["depth_correlation"]) > 0.8
        np.testing.assert_array_equal(np.flatnonzero(dropped), stored["dropped"])
        assert (
            f"{stored['dropped'][0] + 1} ({stored['depth_correlation'][stored['dropped'][0]]:+.2f})"
            in caplog.text
        )

    def test_clr_by_hand(self):
        proteins = AnnData(np.array([[0.0, 1.0, 3.0], [7.0, 0.0, 0.0]]))
        embed(proteins, method="clr")
        two = np.log(2)  # log(1 + x) is 0, 1, 2 and 3, 0, 0 times log 2: means 1 and 1
        np.testing.assert_allclose(
            proteins.obsm["X_clr"], [[-two, 0, two], [2 * two, -two, -two]], atol=1e-12
        )

    def test_clr_keeps_all_columns_unless_told(self, counts):
        embed(counts, method="clr")
        assert counts.obsm["X_clr"].shape == (60, 25)
        assert "clr_loadings" not in counts.varm
        embed(counts, method="clr", n_components=5)
        assert counts.obsm["X_clr"].shape == (60, 5)
        assert counts.varm["clr_loadings"].shape == (25, 5)
        embed(counts, method="clr")
        assert "clr_loadings" not in counts.varm

    def test_default_components_fit_the_data(self, cells):
        embed(cells)
        assert cells.obsm["X_pca"].shape == (60, 25)
        embed(cells, method="lsi", layer="counts")
        assert cells.obsm["X_lsi"].shape[1] + len(cells.uns["lsi"]["dropped"]) == 24

    @pytest.mark.medium
    @pytest.mark.parametrize("method", METHODS)
    def test_l2(self, cells, method):
        run(cells, method, l2=True)
        np.testing.assert_allclose(np.linalg.norm(cells.obsm[f"X_{method}"], axis=1), 1, rtol=1e-5)

    @pytest.mark.medium
    @pytest.mark.parametrize("method", METHODS)
    def test_sparse_as_dense(self, cells, method):
        other = cells.copy()
        other.X, other.layers["counts"] = dense(cells.X), dense(cells.layers["counts"])
        run(cells, method)
        run(other, method)
        expected = cells.obsm[f"X_{method}"]
        np.testing.assert_allclose(other.obsm[f"X_{method}"], expected, atol=1e-4 * scale(expected))

    def test_same_seed_same_bits(self, cells):
        other = cells.copy()
        run(cells, "lsi", rng=3)
        run(other, "lsi", rng=3)
        np.testing.assert_array_equal(cells.obsm["X_lsi"], other.obsm["X_lsi"])

    def test_key_added(self, cells):
        embed(cells, n_components=5, key_added="small")
        assert {"X_small"} == set(cells.obsm)
        assert {"small_loadings"} == set(cells.varm)
        project(cells, cells, key="small")
        assert decode(cells.obsm["X_small"], cells, key="small").shape == (60, 25)


class TestTopics:
    """Simulated counts of three topics with known frequencies."""

    @staticmethod
    def simulated(n_cells=400, depth=500, seed=0):
        rng = np.random.default_rng(seed)
        frequencies = rng.dirichlet(np.full(40, 0.1), size=3)
        shares = rng.dirichlet(np.full(3, 0.5), size=n_cells)
        values = np.stack([rng.multinomial(depth, p) for p in shares @ frequencies])
        return AnnData(sparse.csr_matrix(values.astype(np.float32))), shares, frequencies

    @pytest.mark.medium
    def test_shares_and_frequencies_are_found(self):
        adata, shares, frequencies = self.simulated()
        embed(adata, method="topics", n_components=3)
        found, loadings = adata.obsm["X_topics"], adata.varm["topics_loadings"]
        assert found.sum(1) == pytest.approx(1, abs=1e-5)
        assert loadings.sum(0) == pytest.approx(1)
        order = (frequencies @ loadings).argmax(1)
        assert sorted(order) == [0, 1, 2]
        # a share of 500 counts has a standard error of at most .022
        assert np.abs(found[:, order] - shares).mean() < 0.022
        assert np.abs(loadings[:, order].T - frequencies).sum(1).max() < 0.1

    @pytest.mark.medium
    def test_decoded_are_frequencies(self):
        adata, shares, frequencies = self.simulated()
        embed(adata, method="topics", n_components=3)
        decoded = decode(adata.obsm["X_topics"], adata, key="topics").to_numpy()
        assert decoded.sum(1) == pytest.approx(1, abs=1e-5)
        true, plain = shares @ frequencies, adata.X.toarray() / 500
        # 2 free numbers a cell in place of 39 leave a twentieth of the sampling error, the prior
        # and the frequencies add to it
        assert np.square(decoded - true).sum() < 0.25 * np.square(plain - true).sum()

    def test_more_topics_than_features_and_a_scale_are_refused(self):
        adata, _, _ = self.simulated(n_cells=10)
        with pytest.raises(ValueError, match="`n_components=11` must be between 1 and 10"):
            embed(adata, method="topics", n_components=11)
        with pytest.raises(ValueError, match="`scale=True` is not for `method='topics'`"):
            embed(adata, method="topics", n_components=2, scale=True)


class TestMask:
    def test_highly_variable_is_used_when_there(self, cells):
        cells.var["highly_variable"] = np.arange(25) < 10
        embed(cells, n_components=5)
        assert (cells.varm["PCs"][10:] == 0).all()
        assert list(cells.uns["pca"]["embedding"]["features"]) == [f"gene{i}" for i in range(10)]
        masked = cells.obsm["X_pca"]
        embed(cells, n_components=5, mask_var=np.arange(25) < 10)
        np.testing.assert_array_equal(cells.obsm["X_pca"], masked)
        embed(cells, n_components=5, mask_var=None)
        assert len(cells.uns["pca"]["embedding"]["features"]) == 25

    @pytest.mark.parametrize("kind", ["boolean", object, "category"])
    def test_however_it_is_stored(self, cells, kind):
        cells.var["highly_variable"] = pd.Series(np.arange(25) < 10, cells.var_names).astype(kind)
        embed(cells, n_components=5)
        assert len(cells.uns["pca"]["embedding"]["features"]) == 10
        if kind != "category":
            cells.var["highly_variable"] = cells.var["highly_variable"].astype("boolean")
            cells.var.loc["gene3", "highly_variable"] = pd.NA
            with pytest.raises(ValueError, match="without missing values"):
                embed(cells, n_components=5)

    def test_errors(self, cells):
        with pytest.raises(KeyError, match="`mask_var='chosen'` is not in var"):
            embed(cells, mask_var="chosen")
        with pytest.raises(ValueError, match="`mask_var` must be boolean"):
            embed(cells, mask_var=np.arange(25))
        with pytest.raises(ValueError, match="`mask_var` must be boolean"):
            embed(cells, mask_var=np.zeros(25, dtype=bool))


class TestThereAndBack:
    @pytest.mark.medium
    @pytest.mark.parametrize("l2", [False, True])
    @pytest.mark.parametrize("method", METHODS)
    def test_projected_cells_are_where_they_were(self, cells, method, l2):
        run(cells, method, l2=l2)
        expected = cells.obsm[f"X_{method}"]
        new = cells[::-1, ::-1].copy()  # another order of cells and features
        new = AnnData(new.X, obs=new.obs, var=new.var, layers=new.layers)
        project(new, cells, key=method)
        np.testing.assert_allclose(
            new.obsm[f"X_{method}"][::-1], expected, atol=1e-4 * scale(expected)
        )

    def test_decoded_pca_is_the_best_of_its_rank(self, cells):
        embed(cells, n_components=5, adjust=False)
        x = dense(cells.X).astype(float)
        u, s, vt = np.linalg.svd(x - x.mean(0), full_matrices=False)
        expected = x.mean(0) + u[:, :5] * s[:5] @ vt[:5]
        found = decode(cells.obsm["X_pca"], cells)
        np.testing.assert_allclose(found, expected, atol=1e-4 * scale(x))
        assert list(found.columns) == list(cells.var_names)

    def test_decoded_lsi_is_the_best_of_its_rank_at_average_depth(self, deep):
        embed(deep, method="lsi", n_components=6, adjust=False)
        assert len(deep.uns["lsi"]["dropped"]) > 0
        x = dense(deep.X)
        values = np.log(1 + 1e4 * x / x.sum(1, keepdims=True) * len(x) / x.sum(0))
        u, s, vt = np.linalg.svd(values, full_matrices=False)
        components = [np.outer(u[:, i] * s[i], vt[i]) for i in range(6)]
        # components that were dropped for telling the depth stand at their mean
        for i in deep.uns["lsi"]["dropped"]:
            components[i] = components[i].mean(0, keepdims=True)
        found = decode(deep.obsm["X_lsi"], deep, key="lsi")
        np.testing.assert_allclose(found, sum(components), atol=1e-4 * scale(values))

    def test_all_components_give_the_values_back(self, cells):
        embed(cells, n_components=25, adjust=False)
        np.testing.assert_allclose(
            decode(cells.obsm["X_pca"], cells), dense(cells.X), atol=1e-4 * scale(cells.X)
        )
        wide = (
            cells[:10].copy()
        )  # more features than cells: centred cells span one dimension less than there are cells
        embed(wide, n_components=9, adjust=False)
        np.testing.assert_allclose(
            decode(wide.obsm["X_pca"], wide), dense(wide.X), atol=1e-4 * scale(wide.X)
        )

    def test_clr_is_its_own_inverse(self, counts):
        embed(counts, method="clr")
        np.testing.assert_array_equal(
            decode(counts.obsm["X_clr"], counts, key="clr"), counts.obsm["X_clr"]
        )
        clr = counts.obsm["X_clr"]
        embed(counts, method="clr", n_components=24)
        np.testing.assert_allclose(
            decode(counts.obsm["X_clr"], counts, key="clr"), clr, atol=1e-4 * scale(clr)
        )

    def test_some_features_a_frame_and_nan(self, cells):
        embed(cells, n_components=5)
        frame = pd.DataFrame(cells.obsm["X_pca"], index=cells.obs_names)
        frame.iloc[0] = np.nan
        found = decode(frame, cells, features=["gene9", "gene2"])
        assert list(found.columns) == ["gene9", "gene2"]
        assert list(found.index) == list(cells.obs_names)
        assert found.iloc[0].isna().all()
        np.testing.assert_allclose(
            found.iloc[1:], decode(cells.obsm["X_pca"], cells)[["gene9", "gene2"]].iloc[1:]
        )

    def test_projected_cells_can_be_decoded(self, cells):
        embed(cells, n_components=5)
        new = cells[:7].copy()
        del new.uns["pca"], new.obsm["X_pca"]
        project(new, cells)
        np.testing.assert_allclose(decode(new.obsm["X_pca"], new), decode(new.obsm["X_pca"], cells))

    def test_errors(self, cells):
        with pytest.raises(
            KeyError, match=r"`key='pca'` is not an embedding of `adata`; found \[\]"
        ):
            decode(np.ones((3, 5)), cells)
        embed(cells, n_components=5)
        with pytest.raises(ValueError, match=r"`values` has shape \(3, 4\), expected \(n, 5\)"):
            decode(np.ones((3, 4)), cells)
        with pytest.raises(KeyError, match="`features` CD4 are not in the 25"):
            decode(np.ones((3, 5)), cells, features=["gene1", "CD4"])
        with pytest.raises(
            ValueError, match=r"lacks 2 of 25 features of `key='pca'`: gene0, gene1\."
        ):
            project(cells[:, 2:], cells)
        with pytest.raises(KeyError, match=r"of `reference`; found \['pca'\]"):
            project(cells, cells, key="lsi")
        embed(cells, n_components=5, l2=True)
        with pytest.raises(ValueError, match="`l2=True`, which discards"):
            decode(cells.obsm["X_pca"], cells)


class TestScale:
    def z_scores(self, cells, method):
        run(cells, method)
        values = dense(cells.X).astype(float)
        if method == "clr":
            values = np.log1p(dense(cells.layers["counts"]).astype(float))
            values -= values.mean(1, keepdims=True)
        deviation = values.std(0, ddof=1)
        # two columns of the counts never vary; their centred log ratios do
        return values, (values - values.mean(0)) / np.where(deviation < 1e-6, 1, deviation)

    def test_clr_is_z_scored(self, cells):
        values, expected = self.z_scores(cells, "clr")
        embed(cells, method="clr", scale=True, layer="counts")
        found = cells.obsm["X_clr"]
        np.testing.assert_allclose(found, expected, atol=1e-4)
        np.testing.assert_allclose(decode(found, cells, key="clr"), values, atol=1e-5)
        one = decode(found, cells, key="clr", features=["gene9"])
        np.testing.assert_allclose(one["gene9"], values[:, 9], atol=1e-5)
        assert cells.uns["clr"]["params"]["scale"]

    @pytest.mark.parametrize("method", ["pca", "clr"])
    def test_components_are_those_of_z_scores(self, cells, method):
        values, scaled = self.z_scores(cells, method)
        run(cells, method, scale=True)
        u, s, vt = np.linalg.svd(scaled, full_matrices=False)
        expected = u[:, :5] * s[:5]
        found = cells.obsm[f"X_{method}"]
        signs = np.sign((expected * found).sum(0))
        np.testing.assert_allclose(found * signs, expected, atol=1e-3 * scale(expected))
        deviation = values.std(0, ddof=1)
        decoded = values.mean(0) + expected @ vt[:5] * np.where(deviation < 1e-6, 1, deviation)
        np.testing.assert_allclose(
            decode(found, cells, key=method), decoded, atol=1e-3 * scale(values)
        )

    @pytest.mark.medium
    @pytest.mark.parametrize("n_components", [None, 5])
    @pytest.mark.parametrize("method", ["pca", "clr"])
    def test_projected_cells_are_where_they_were(self, cells, method, n_components, tmp_path):
        layer = None if method == "pca" else "counts"
        embed(
            cells,
            method=method,
            scale=True,
            n_components=n_components,
            layer=layer,
            adjust=False,
        )
        cells.write_h5ad(tmp_path / "cells.h5ad")
        reference = read_h5ad(tmp_path / "cells.h5ad")
        expected = cells.obsm[f"X_{method}"]
        new = AnnData(cells.X, obs=cells.obs, var=cells.var, layers=cells.layers)[::-1, ::-1].copy()
        project(new, reference, key=method)
        np.testing.assert_allclose(
            new.obsm[f"X_{method}"][::-1], expected, atol=1e-4 * scale(expected)
        )

    def test_a_feature_that_does_not_vary_becomes_zero(self):
        adata = AnnData(np.array([[1.0, 3], [2, 3], [5, 3]]))
        embed(adata, scale=True, n_components=1)
        assert adata.varm["PCs"][1, 0] == 0
        np.testing.assert_allclose(decode(adata.obsm["X_pca"], adata), adata.X, atol=1e-12)

    def test_not_for_lsi(self, cells):
        with pytest.raises(ValueError, match="`scale=True` is not for `method='lsi'`"):
            run(cells, "lsi", scale=True)


class TestStorage:
    @pytest.mark.medium
    @pytest.mark.filterwarnings(
        "ignore:Writing zarr v2 data:UserWarning"
    )  # anndata announces another default
    @pytest.mark.parametrize("method", METHODS)
    @pytest.mark.parametrize("kind", ["h5ad", "zarr"])
    def test_survives_files(self, cells, tmp_path, method, kind):
        run(cells, method)
        path = tmp_path / f"cells.{kind}"
        if kind == "h5ad":
            cells.write_h5ad(path)
            again = read_h5ad(path)
        else:
            cells.write_zarr(path)
            again = read_zarr(path)
        expected = cells.obsm[f"X_{method}"]
        np.testing.assert_array_equal(again.obsm[f"X_{method}"], expected)
        pd.testing.assert_frame_equal(
            decode(expected, again, key=method), decode(expected, cells, key=method)
        )
        project(again, again, key=method)
        np.testing.assert_allclose(again.obsm[f"X_{method}"], expected, atol=1e-4 * scale(expected))

    def test_view(self, cells):
        before = snapshot(cells)
        view = cells[:30, :20]
        embed(view, n_components=5)
        assert view.obsm["X_pca"].shape == (30, 5)
        assert not view.is_view
        assert snapshot(cells) == before
        other = cells[30:]
        project(other, view)
        assert snapshot(cells) == before

    @pytest.mark.medium
    @pytest.mark.parametrize("method", METHODS)
    def test_backed(self, cells, tmp_path, method):
        cells.write_h5ad(tmp_path / "cells.h5ad")
        backed = read_h5ad(tmp_path / "cells.h5ad", backed="r")
        run(cells, method)
        with pytest.warns(UserWarning, match=r"backed by 'cells.h5ad': results are kept in memory"):
            run(backed, method)
        np.testing.assert_array_equal(backed.obsm[f"X_{method}"], cells.obsm[f"X_{method}"])
        with pytest.raises(ValueError, match=r"view of a backed file.*`adata.to_memory\(\)`"):
            run(backed[:30], method)
        backed.obsm.clear()
        copied = embed(backed, n_components=5, mask_var=None, copy=True)
        assert not copied.isbacked
        assert "X_pca" in copied.obsm
        assert not backed.obsm
        backed.file.close()

    def test_copy(self, cells):
        before = snapshot(cells)
        copied = embed(cells, n_components=5, copy=True)
        assert copied.obsm["X_pca"].shape == (60, 5)
        projected = project(cells, copied, copy=True)
        assert "X_pca" in projected.obsm
        assert snapshot(cells) == before


class TestObject:
    @pytest.mark.medium
    @pytest.mark.parametrize("method", METHODS)
    def test_read_is_what_was_written(self, cells, method, tmp_path):
        run(cells, method)
        first = Embedding.read(cells, method)
        cells.write_h5ad(tmp_path / "cells.h5ad")
        again = Embedding.read(read_h5ad(tmp_path / "cells.h5ad"), method)
        assert first.same_as(again)
        assert first.holds(cells, cells.obsm[f"X_{method}"])
        assert not first.holds(cells, -cells.obsm[f"X_{method}"])
        assert first.holds(cells[:, 5:], cells.obsm[f"X_{method}"]) is None
        other = cells.copy()
        again.write(other, "other")
        assert set(other.uns["other"]) == set(cells.uns[method])
        assert Embedding.read(other, "other").same_as(first)
        run(other, method, l2=True)
        assert not Embedding.read(other, method).same_as(first)

    def test_coordinates_are_contiguous(self, cells):
        embed(cells, n_components=5)
        assert cells.obsm["X_pca"].flags.c_contiguous

    def test_damage_is_named(self, cells):
        embed(cells, n_components=5)
        sound = cells.uns["pca"]["embedding"]
        for name in sound:
            damaged = sound[name].astype(str) if name == "fingerprints" else sound[name][:-1]
            cells.uns["pca"]["embedding"] = {**sound, name: damaged}
            with pytest.raises(ValueError, match="the embedding 'pca' is damaged"):
                Embedding.read(cells, "pca")
        cells.uns["pca"]["embedding"] = {**sound, "offset": sound["offset"] * np.nan}
        with pytest.raises(ValueError, match=r"damaged \(offset\)"):
            Embedding.read(cells, "pca")
        cells.uns["pca"]["embedding"] = sound
        for name, wrong in {"l2": np.full(3, np.nan), "layer": 3.0, "mask_var": [1]}.items():
            known = cells.uns["pca"]["params"]
            cells.uns["pca"]["params"] = {**known, name: wrong}
            with pytest.raises(ValueError, match=rf"uns\['pca'\] of `adata` is damaged.*{name}"):
                Embedding.read(cells, "pca")
            cells.uns["pca"]["params"] = known
        del cells.uns["pca"]["params"]
        with pytest.raises(ValueError, match=r"uns\['pca'\] of `adata` is damaged"):
            decode(cells.obsm["X_pca"], cells)


@pytest.mark.medium
@pytest.mark.parametrize("pca", [embed, sc.pp.pca])
def test_sparse_counts_to_a_coupling(pca):
    rng = np.random.default_rng(0)
    rna = AnnData(sparse.csr_matrix(np.log1p(rng.poisson(2, (60, 200))).astype(np.float32)))
    protein = AnnData(rng.poisson(2, (60, 8)).astype(np.float32))
    protein.obs_names = "protein " + protein.obs_names
    pca(rna)  # of more genes than cells: Scanpy hands out columns of negative stride
    embed(protein, method="clr")
    solver = GromovWasserstein(epsilon=1.0, n_starts=1)
    learner = FlowMatching(steps=2, validation_fraction=0)
    fit_translation(rna, protein, solver=solver, learner=learner, progress=False, device="cpu")
    coupling(rna)
    assert rna.obsm["genot_coupling"].shape == (60, 60)


def test_features_are_a_list(cells):
    embed(cells, n_components=5)
    with pytest.raises(TypeError, match=r"`features='gene1'` is text: give a list"):
        decode(cells.obsm["X_pca"], cells, features="gene1")


class TestUnfit:
    @pytest.mark.parametrize("method", METHODS)
    def test_nan(self, cells, method):
        cells.X.data[:3] = np.nan
        cells.layers["counts"].data[:3] = np.inf
        before = snapshot(cells)
        with pytest.raises(ValueError, match="has 3 NaN or infinite values"):
            run(cells, method)
        assert snapshot(cells) == before

    @pytest.mark.parametrize("method", METHODS)
    def test_duplicated_features_and_one_cell(self, cells, method):
        with pytest.raises(ValueError, match=r"has 1 cell\(s\)"):
            run(cells[:1], method)
        cells.var_names = ["a"] * 25
        with pytest.raises(ValueError, match="var names of `adata` are not unique"):
            run(cells, method)

    def test_nothing_varies(self):
        with pytest.raises(ValueError, match="the same in all 5 cells"):
            embed(AnnData(np.full((5, 4), 0.5)))

    def test_raw_counts_warn(self, counts):
        with pytest.warns(UserWarning, match=r"X of `adata` looks like raw counts"):
            embed(counts, n_components=5)

    def test_values_without_a_logarithm_warn(self, counts):
        counts.X = counts.X * (100.5 / counts.X.max())
        with pytest.warns(
            UserWarning, match=r"X of `adata` looks like values without a logarithm, up to 10[01]"
        ):
            embed(counts, n_components=5)

    def test_binary_values_do_not_warn(self):
        embed(AnnData(np.eye(6)), n_components=2)

    def test_counts_are_needed(self, counts):
        counts.X.data[0] = -1
        for method in ("lsi", "clr"):
            with pytest.raises(
                ValueError, match=f"method='{method}'.*X of `adata` has negative values"
            ):
                embed(counts, method=method)

    def test_empty_cells(self, counts):
        counts.X = counts.X.multiply(~np.isin(np.arange(60), [4, 5])[:, None]).tocsr()
        with pytest.raises(ValueError, match="2 cells without counts"):
            embed(counts, method="lsi")

    def test_arguments(self, cells):
        with pytest.raises(ValueError, match="`method='umap'` must be"):
            embed(cells, method="umap")
        with pytest.raises(ValueError, match="`n_components=60` must be between 1 and 25"):
            embed(cells, n_components=60)
        with pytest.raises(ValueError, match="`key_added='a/b'` must be text without '/'"):
            embed(cells, key_added="a/b")
        with pytest.raises(KeyError, match=r"`layer='raw'` .* found \['counts'\]"):
            embed(cells, layer="raw")
        with pytest.raises(TypeError, match="must be an AnnData"):
            embed(np.ones((3, 2)))


class TestRealData:
    @pytest.mark.medium
    def test_citeseq(self):
        rna = load("citeseq_pbmc10k/rna")[::10].copy()
        protein = load("citeseq_pbmc10k/protein")[::10].copy()
        sc.pp.normalize_total(rna, target_sum=1e4)
        sc.pp.log1p(rna)
        embed(rna, adjust=False)
        embed(protein, method="clr", adjust=False)
        assert rna.obsm["X_pca"].shape == (686, 30)
        assert protein.obsm["X_clr"].shape == (686, 14)
        np.testing.assert_allclose(protein.obsm["X_clr"].sum(1), 0, atol=1e-4)
        expected = rna.obsm["X_pca"].copy()
        project(rna, rna)
        np.testing.assert_allclose(rna.obsm["X_pca"], expected, atol=1e-4 * scale(expected))
        # PC 1 of blood cells is myeloid against lymphoid: decoding restores a marker of monocytes
        lyz = decode(expected, rna, features=["LYZ"])["LYZ"]
        assert np.corrcoef(lyz, dense(rna[:, "LYZ"].X)[:, 0])[0, 1] > 0.9
