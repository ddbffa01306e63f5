"""Every string that scgenot writes to AnnData, derived from `key_added`; the only place."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Keys:
    """Names of the slots of one fit."""

    key: str = "genot"

    def __post_init__(self):
        if not isinstance(self.key, str) or not self.key or "/" in self.key:
            raise ValueError(f"`key_added` is {self.key!r}: AnnData keys are text without a slash.")

    @property
    def sample(self) -> str:
        """`obsm`: one sampled target state per source cell."""
        return f"X_{self.key}"

    @property
    def mean(self) -> str:
        """`obsm`: the conditional mean per source cell."""
        return f"X_{self.key}_mean"

    @property
    def uncertainty(self) -> str:
        """`obs`: spread of the conditional law."""
        return f"{self.key}_uncertainty"

    @property
    def cosine_variance(self) -> str:
        """`obs`: how much the direction of a cell's displacement varies."""
        return f"{self.key}_cosine_variance"

    @property
    def response(self) -> str:
        """`obs`: length of a cell's mean displacement."""
        return f"{self.key}_response"

    @property
    def growth(self) -> str:
        """`obs`: eta, the mass a source cell sends over the mass it has."""
        return f"{self.key}_growth"

    @property
    def of_predictions(self) -> list[str]:
        """`obs`: all that a prediction says of a cell."""
        return [self.uncertainty, self.cosine_variance, self.response, self.growth]

    @property
    def predicted(self) -> str:
        """`uns`: which perturbation and dose was predicted; there without the fit too."""
        return f"{self.key}_predicted"

    @property
    def coupling(self) -> str:
        """`obsm` (two AnnData) or `obsp` (one): sparse joint mass, rows source, columns target."""
        return f"{self.key}_coupling"

    @property
    def push(self) -> str:
        """`obs`: distribution of the descendants of a set of cells."""
        return f"{self.key}_push"

    @property
    def pull(self) -> str:
        """`obs`: distribution of the ancestors of a set of cells."""
        return f"{self.key}_pull"

    @property
    def fate(self) -> str:
        """`obsm`: share of each terminal group among a cell's descendants."""
        return f"{self.key}_fate"

    @property
    def fate_entropy(self) -> str:
        """`obs`: how open a cell's fate is."""
        return f"{self.key}_fate_entropy"

    @property
    def velocity(self) -> str:
        """`obsm`: expected displacement per unit of time, in the representation."""
        return f"{self.key}_velocity"

    def velocity_in(self, basis: str) -> str:
        """`obsm`: the same in a basis such as `umap`."""
        return f"{self.velocity}_{basis}"

    def annotated(self, column: str) -> str:
        """`obs`: a column carried across time."""
        return f"{self.key}_annotated_{column}"

    @property
    def origin(self) -> str:
        """`obs`: how a cell was made, "simulated" or "interpolated"; missing where measured."""
        return f"{self.key}_origin"

    def is_answer(self, slot: str, name: str) -> bool:
        """Whether an entry of a slot is what a verb asked of the fit of this key."""
        exact = {
            "obs": (*self.of_predictions, self.push, self.pull, self.fate_entropy),
            "obsm": (self.sample, self.mean, self.fate, self.velocity, self.coupling),
            "obsp": (self.coupling,),
            "uns": (self.predicted,),
        }
        started = {"obs": self.annotated(""), "obsm": self.velocity_in("")}
        return name in exact[slot] or (slot in started and name.startswith(started[slot]))


# entries of uns[key]
PARAMS = "params"
MODEL = "model"
HISTORY = "history"
PAIRS = "pairs"
# what gives the coupling of any source cell again: cost, target cells, target potential
DUAL = "dual"
COUPLINGS = "couplings"  # the same for each pair within one AnnData, with the names of its cells
CONFIDENCE = "confidence"
SEEN = "seen"  # a sample of the source cells of the fit, to warn of cells unlike them
CALIBRATION = "calibration"  # thresholds of regions by level
CALIBRATION_FEATURES = "calibration_features"  # corrections of intervals by feature and level
CALIBRATION_STRATA = "calibration_strata"  # columns of obs within whose values regions are made
CALIBRATION_NAMES = "calibration_names"  # obs names of the cells that calibrated
COUPLING_KEY = "coupling_key"
COUPLING_NAMES = "coupling_names"  # obs names of the target cells: the coupling's columns
WRITTEN = "written"  # further slots with answers of the fit, under names that were asked for

# column of obs of simulated cells: the name of the cell each was made from
SOURCE_CELL = "source_cell"

# representations looked for when none is named, in this order
USUAL_REPS = ("X_pca", "X_lsi", "X_clr")

# entries of uns[embedding key]
EMBEDDING = "embedding"
# of what was embedded: whether whole numbers, whether decoded features are never negative
VALUES = "values"
