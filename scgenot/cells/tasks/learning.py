"""What a network of a perturbation screen is trained with when the user does not say."""

# of few cells, more steps teach a network which pairs were drawn, and predictions vary too little
# (`tests/benchmarks/few_cells.py`)
STEPS_PER_CELL = 1.5
FEWEST_STEPS, MOST_STEPS = 500, 1500


def screen_learning(screen) -> dict:
    """Return the defaults of the learner for a screen whose links are made."""
    # extrapolation is for cells unlike those fitted; conditions are hidden where there are several
    # to guide between; all cells are trained on: which of small strata are held out would decide
    # when to stop
    several = len(screen.conditions.known) > 1 or screen.dose_key or screen.network_covariates
    return {
        "steps": min(max(int(STEPS_PER_CELL * screen.n_cells), FEWEST_STEPS), MOST_STEPS),
        "displacement": True,
        "extrapolation": "linear",
        "condition_dropout": 0.1 if several else 0.0,
        "validation_fraction": 0.0,
    }
