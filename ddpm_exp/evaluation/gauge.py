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
        """Mean absolute difference between the values read off `x` [N, *shape] and those asked for, [N, K], standardised."""
        read = self.model.predict(flat(x)).reshape(len(x), -1)
        return float(np.abs(read - values.numpy()).mean())


def fit_gauge(train: Examples, held_out: Examples) -> Gauge:
    """Principal components and a support vector regression per value, fitted on at most 4,000 training examples, tested
    on held-out ones."""
    from sklearn.decomposition import PCA
    from sklearn.multioutput import MultiOutputRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import SVR

    if train.values is None or held_out.values is None:
        raise ValueError("a gauge needs examples with values")
    train, held_out = (part.take(part.values.isfinite().all(1).nonzero().flatten()[:_MOST]) for part in (train, held_out))
    x = flat(train.x)
    model = make_pipeline(
        PCA(min(_COMPONENTS, *x.shape), whiten=False, random_state=0, svd_solver="full" if x.shape[1] < 500 else "randomized"),
        MultiOutputRegressor(SVR(C=10.0, epsilon=0.02)),
    )
    model.fit(x, train.values.numpy())
    gauge = Gauge(model, 0.0)
    return Gauge(model, gauge.error(held_out.x, held_out.values))
