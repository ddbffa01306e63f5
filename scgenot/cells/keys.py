"""Every string that scgenot writes to AnnData, derived from `key_added`; the only place."""

from collections.abc import Mapping


class Keys:
    """Names of the slots of one fit."""

    def __init__(self, key: str = "genot"):
        if not isinstance(key, str) or not key or "/" in key:
            raise ValueError(f"`key_added` is {key!r}: AnnData keys are text without a slash.")
        self.key = key
        # obsm: one sampled target state per source cell, and the conditional mean
        self.sample, self.mean = f"X_{key}", f"X_{key}_mean"
        # obs: spread of the conditional law
        self.uncertainty = f"{key}_uncertainty"
        # obs: how much the direction of a cell's displacement varies, and its mean length
        self.cosine_variance, self.response = f"{key}_cosine_variance", f"{key}_response"
        # obs: eta, the mass a source cell sends over the mass it has
        self.growth = f"{key}_growth"
        # obs: p-value of a measured cell under the model
        self.p_value = f"{key}_p_value"
        # obs: probability that draws come from the flow, for cells near fitted ones
        self.support = f"{key}_support"
        # obs: all that a prediction says of a cell
        self.of_predictions = [self.uncertainty, self.cosine_variance, self.response]
        self.of_predictions += [self.growth, self.support]
        # uns: which perturbation and dose was predicted; there without the fit too
        self.predicted = f"{key}_predicted"
        # obsm (two AnnData) or obsp (one): sparse joint mass, rows source, columns target
        self.coupling = f"{key}_coupling"
        # obs, of a partial coupling: share of a source cell that it keeps, mass that it leaves
        # behind, and whether less than half is kept
        self.kept, self.left = f"{key}_kept", f"{key}_left"
        self.assignment = f"{key}_assignment"
        # obs: distributions of the descendants and of the ancestors of a set of cells
        self.push, self.pull = f"{key}_push", f"{key}_pull"
        # obsm: share of each terminal group among a cell's descendants; obs: how open its fate is
        self.fate, self.fate_entropy = f"{key}_fate", f"{key}_fate_entropy"
        # obsm: expected displacement per unit of time, in the representation
        self.velocity = f"{key}_velocity"
        # uns of interpolated cells: where they are between which times, and left-out scores
        self.interpolation = f"{key}_interpolation"
        # obs: how a cell was made, "simulated", "interpolated" or "counterfactual"; missing where
        # it was measured
        self.origin = f"{key}_origin"

        # uns: distances between populations, their names and what was asked
        self.distances = f"{key}_distances"

    def velocity_in(self, basis: str) -> str:
        """`obsm`: the velocity in a basis such as `umap`."""
        return f"{self.velocity}_{basis}"

    def annotated(self, column: str) -> str:
        """`obs`: a column carried across time."""
        return f"{self.key}_annotated_{column}".replace("/", "|")  # files know no slash

    def transferred(self, column: str) -> str:
        """`obs`, `obsm`, `uns`: a column carried from a reference; no fit is behind it."""
        return f"{self.key}_transferred_{column}".replace("/", "|")

    def is_answer(self, slot: str, name: str) -> bool:
        """Whether an entry of a slot is what a verb asked of the fit of this key."""
        exact = {
            "obs": (
                *(*self.of_predictions, self.p_value, self.push, self.pull, self.fate_entropy),
                *(self.kept, self.left, self.assignment),
            ),
            "obsm": (self.sample, self.mean, self.fate, self.velocity, self.coupling),
            "obsp": (self.coupling,),
            "uns": (self.predicted,),
        }
        started = {"obs": self.annotated(""), "obsm": self.velocity_in("")}
        return name in exact[slot] or (slot in started and name.startswith(started[slot]))


# entries of uns[key] that `write` looks at; `scgenot.fit.storage` has the others
PARAMS = "params"
WRITTEN = "written"  # further slots with answers of the fit, under names that were asked for

# label of cells of which partial couplings keep less than this share of their mass
UNASSIGNED, KEPT = "unassigned", 0.5

# column of obs of simulated cells: the name of the cell each was made from
SOURCE_CELL = "source_cell"
# of counterfactual cells: the name of the control cell that was drawn for the source cell
CONTROL_CELL = "control_cell"

# representations looked for when none is named, in this order
USUAL_REPS = ("X_pca", "X_lsi", "X_clr")

# entries of uns[embedding key]
EMBEDDING = "embedding"
# of what was embedded: whether whole numbers, whether decoded features are never negative
VALUES = "values"


def embedding_key(rep: str) -> str:
    """Return the name of the embedding that made a representation: `pca` of `X_pca`."""
    return rep.removeprefix("X_")


def is_embedding(entry) -> bool:
    """Say whether an entry of uns was left by :func:`~scgenot.tl.embed`."""
    return isinstance(entry, Mapping) and EMBEDDING in entry
