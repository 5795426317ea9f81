"""An independent reading of continuous values off drawn samples: scikit-learn on real ones, with nothing of the network in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ddpm_exp.data.examples import Examples
from ddpm_exp.evaluation.classifier import flat

_MOST = 4000
_COMPONENTS = 64


@dataclass(frozen=True)
class Gauge:
    """A fitted regression and its error on real examples that it was not fitted on."""

    model: Any
    error_on_real: float
    """Mean absolute error, in standard deviations of the values."""

    def error(self, x: torch.Tensor, values: torch.Tensor) -> float:
        """Mean absolute difference between the values read off `x` [N, *shape] and those asked for, [N, K], standardised; NaN
        where a sample has a number that is not finite."""
        rows = flat(x)
        if not np.isfinite(rows).all():
            return float("nan")
        read = self.model.predict(rows).reshape(len(x), -1)
        return float(np.abs(read - values.numpy()).mean())


def fit_gauge(train: Examples, held_out: Examples) -> Gauge:
    """Principal components and a support vector regression per value, fitted on at most 4,000 training examples, tested
    on held-out ones."""
    from sklearn.decomposition import PCA
    from sklearn.multioutput import MultiOutputRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import SVR

    (x_train, values), (x_held_out, unseen) = (_with_values(part) for part in (train, held_out))
    x = flat(x_train)
    model = make_pipeline(
        PCA(min(_COMPONENTS, *x.shape), whiten=False, random_state=0, svd_solver="full" if x.shape[1] < 500 else "randomized"),
        MultiOutputRegressor(SVR(C=10.0, epsilon=0.02)),
    )
    model.fit(x, values.numpy())
    gauge = Gauge(model, 0.0)
    return Gauge(model, gauge.error(x_held_out, unseen))


def _with_values(examples: Examples) -> tuple[torch.Tensor, torch.Tensor]:
    """Examples of which every value is known, and these values; at most 4,000, at even steps."""
    if examples.values is None:
        raise ValueError("a gauge needs examples with values")
    known = examples.values.isfinite().all(1).nonzero().flatten()
    chosen = known[torch.linspace(0, len(known) - 1, min(len(known), _MOST)).long()]
    return examples.x[chosen], examples.values[chosen]
