"""scgenot from a shell: `python -m scgenot demo` and `python -m scgenot info`."""

import argparse
import logging
import time
from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData

LABELS = "bulk_labels"
DOUBTFUL = 0.2  # share of the mass of a type at another one
COUPLING, MEAN = "plain coupling (mean)", "GENOT, conditional mean"


def main() -> None:
    """Read the command line, and run the demonstration or print the versions."""
    parser = argparse.ArgumentParser(
        prog="python -m scgenot", description="Neural optimal transport for single-cell data."
    )
    commands = parser.add_subparsers(title="commands")
    shown = commands.add_parser(
        "demo",
        help="translate between two halves of the genes of 700 blood cells, offline",
        description="Two disjoint halves of the genes of 700 blood cells, from scanpy, act as two "
        "modalities. One half is translated into the other without using the pairs of cells, which "
        "serve only to score the result.",
    )
    shown.add_argument(
        "--out", type=Path, default=Path("scgenot_demo"), help="folder for the results"
    )
    shown.add_argument("--seed", type=int, default=0, help="seed of the gene split and of the fit")
    shown.set_defaults(run=demo)
    told = commands.add_parser("info", help="print versions and device, for bug reports")
    told.set_defaults(run=info)
    args = parser.parse_args()
    if "run" in args:
        args.run(args)
    else:
        parser.print_help()


def info(_args: argparse.Namespace) -> None:
    """Print the versions that results depend on, and where functions compute by default."""
    import os
    import platform
    from importlib.metadata import PackageNotFoundError, version

    import torch

    names = "scgenot torch anndata scanpy numpy scipy pandas scikit-learn matplotlib"
    print(f"python {platform.python_version()} on {platform.platform()}")
    for name in (*names.split(), "mudata", "cellrank", "pertpy", "annbatch"):
        try:
            print(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    device = "cuda" if torch.cuda.is_available() else "cpu"
    name = f" ({torch.cuda.get_device_name()})" if device == "cuda" else ""
    print(f"device {device}{name}, {torch.get_num_threads()} of {os.cpu_count()} threads")


def demo(args: argparse.Namespace) -> None:
    """Translate, print the table, write an h5ad and pictures, and say where they are."""
    logging.basicConfig(format="%(message)s")

    import scgenot as sg

    started = time.perf_counter()
    source, target, partner = two_modalities(args.seed)
    print(
        f"Translating {source.n_vars} genes of {source.n_obs} blood cells into {target.n_vars} "
        "other genes, without paired cells."
    )
    sg.tl.fit_translation(source, target, rng=args.seed)
    sg.tl.coupling(source)

    table = evaluate(source, target, partner, args.seed)
    print(f"\n{table.to_string(float_format='{:.3f}'.format)}\n")
    print("FOSCTTM: fraction of samples closer than the true match; 0 is best, 0.5 is chance.")
    print(
        "label transfer: accuracy of cell types given by the 5 nearest measured cells; 1 is best."
    )
    print("Ridge is trained on the true pairs (5-fold), which the other methods do not use.")
    print(f"{certainty(source.uns['genot']['confidence'])}")
    print(network_adds(table))
    print(f"{doubtful(source, target)}\n")
    for path in write_results(source, target, args.out):
        print(f"wrote {path}")
    print(f"done in {time.perf_counter() - started:.0f} s")


def certainty(confidence: dict) -> str:
    """Say in words how far the match can be trusted."""
    gap = (
        "there is no other"
        if np.isinf(confidence["gap"])
        else f"the next one is {confidence['gap']:.0%} worse"
    )
    verdict = "AMBIGUOUS" if confidence["ambiguous"] else "clear"
    return (
        f"The match is {verdict}: {confidence['n_best']} of {confidence['n_starts']} "
        f"starts reach it, {gap}, its margin is {confidence['margin']:.2f}, and two subsets of the "
        f"cells agree with correlation {confidence['agreement']:.2f}. This refers to all cells "
        "together, not to each cell type."
    )


def network_adds(table: pd.DataFrame) -> str:
    """Say what the network adds over its coupling."""
    coupling, mean = (table["FOSCTTM"][name] for name in (COUPLING, MEAN))
    return (
        f"The network reproduces its coupling (FOSCTTM of the mean {mean:.3f} against "
        f"{coupling:.3f}) and does not improve the match. It adds samples of possible cells, also "
        "for new cells and without the target cells."
    )


def doubtful(source: AnnData, target: AnnData) -> str:
    """Say which types have most of their mass elsewhere, or much of it at one other type."""
    labels, target_labels = (side.obs[LABELS].astype(str).to_numpy() for side in (source, target))
    member = pd.get_dummies(target_labels).astype(float)
    mass = pd.DataFrame(source.obsm["genot_coupling"] @ member.to_numpy(), columns=member.columns)
    shares = mass.groupby(labels).sum()
    shares = shares.div(shares.sum(axis=1), axis=0)
    found = []
    for label, row in shares.iterrows():
        others = row.drop(label, errors="ignore")
        if others.max() > DOUBTFUL:
            n = (labels == label).sum()
            found.append(
                f"{label} (n={n}; {others.max():.0%} of its mass goes to {others.idxmax()})"
            )
    if not found:
        return f"No cell type has more than {DOUBTFUL:.0%} of its mass at another one."
    return "\n  ".join(["Do not trust the translated cells of these types:", *found])


def two_modalities(seed: int) -> tuple[AnnData, AnnData, np.ndarray]:
    """Split the genes of scanpy's blood cells in two."""
    import scanpy as sc

    import scgenot as sg

    cells = sc.datasets.pbmc68k_reduced()
    raw = AnnData(cells.raw.X, obs=cells.obs[[LABELS]], var=cells.raw.var[[]])
    raw.uns[f"{LABELS}_colors"] = cells.uns[f"{LABELS}_colors"]
    rng = np.random.default_rng(seed)
    first = np.zeros(raw.n_vars, dtype=bool)
    first[rng.permutation(raw.n_vars)[: raw.n_vars // 2]] = True
    order = rng.permutation(raw.n_obs)
    source, target = raw[:, first].copy(), raw[order, ~first].copy()
    target.obs_names = [f"target-{i}" for i in range(target.n_obs)]
    for modality in (source, target):
        sg.tl.embed(modality, method="pca", n_components=30)
    return source, target, np.argsort(order)


def evaluate(source: AnnData, target: AnnData, partner: np.ndarray, seed: int) -> pd.DataFrame:
    """Compare predictions with trivial baselines and with a supervised ceiling."""
    from sklearn.linear_model import RidgeCV
    from sklearn.model_selection import KFold, cross_val_predict

    from scgenot import metrics

    cells = target.obsm["X_pca"]
    true = cells[partner]
    mass = source.obsm["genot_coupling"]
    folds = KFold(5, shuffle=True, random_state=seed)
    predicted = {
        "random matching": cells[np.random.default_rng(seed).permutation(len(cells))],
        COUPLING: (mass @ cells) / np.asarray(mass.sum(1)).reshape(-1, 1),
        "GENOT, single sample": source.obsm["X_genot"],
        MEAN: source.obsm["X_genot_mean"],
        "ridge, supervised": cross_val_predict(
            RidgeCV(np.logspace(-2, 4, 13)), source.obsm["X_pca"], true, cv=folds
        ),
        "the true cells": true,
    }
    labels, target_labels = source.obs[LABELS].to_numpy(), target.obs[LABELS].to_numpy()
    rows = {
        name: {
            "FOSCTTM": metrics.foscttm(values, true),
            "label transfer": metrics.label_transfer(values, cells, labels, target_labels),
        }
        for name, values in predicted.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def write_results(source: AnnData, target: AnnData, folder: Path) -> list[Path]:
    """Write the source cells with their results, and three pictures."""
    import matplotlib as mpl

    mpl.use("Agg")

    from scgenot import pl

    folder.mkdir(parents=True, exist_ok=True)
    plots = {
        "translation.png": lambda: pl.translation(source, target, color=LABELS),
        "coupling.png": lambda: pl.coupling(source, target, groupby=LABELS),
        "training.png": lambda: pl.training(source),
    }
    files = [folder / name for name in plots]
    for file, plot in zip(files, plots.values(), strict=True):
        plot().figure.savefig(file, dpi=120, bbox_inches="tight")
    files.append(folder / "translated.h5ad")
    source.write_h5ad(files[-1])
    return files


if __name__ == "__main__":
    main()
