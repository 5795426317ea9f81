"""Which numbers tell how good drawn samples are, for each kind of data and condition."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property

import torch

from ddpm_exp.data.conditions import Conditions
from ddpm_exp.data.examples import Examples, Splits
from ddpm_exp.data.pixels import to_uint8
from ddpm_exp.evaluation import measures, vectors
from ddpm_exp.evaluation.asked import Asked, complete, given_of
from ddpm_exp.evaluation.classifier import Judge, fit_judge
from ddpm_exp.evaluation.defects import Defects
from ddpm_exp.evaluation.gauge import Gauge, fit_gauge
from ddpm_exp.spec.condition import Condition, parts_of
from ddpm_exp.spec.data import Family
from ddpm_exp.spec.evaluation import Evaluation


class Measuring:
    """Measures samples by their data's real examples; judges are fitted on first use."""

    def __init__(
        self,
        spec: Evaluation,
        splits: Splits,
        condition: Condition,
        family: Family,
        conditions: Conditions,
        note: Callable[[str], None],
    ) -> None:
        self._spec, self._splits, self._family = spec, splits, family
        self._conditions, self._note = conditions, note
        self._kinds = {part.kind for part in parts_of(condition)}
        self._task = next((part.task for part in parts_of(condition) if part.kind == "image"), None)
        self._real = splits.held_out.batch(slice(0, min(spec.held_out, len(splits.held_out))))
        self._real_distances: dict[int, float] = {}
        self._defects = Defects(splits, family, shown="image" in self._kinds)

    def of(self, drawn: torch.Tensor, asked: Asked) -> dict[str, float]:
        """The `samples/*` measures of `drawn` [N, *shape], which were asked for as `asked` says: of those in the data's own
        proportions, but for what is said of classes."""
        own = drawn[asked.own]
        found = self._of_images(own) if self._family == "image" else self._of_vectors(own)
        found |= self._defects.of(own)
        if self._kinds & {"class", "prompt"} and len(self._splits.held_out.class_names) > 1:
            found |= self._of_classes(drawn, asked)
        if "values" in self._kinds and asked.batch.values is not None:
            found |= self._of_values(own, asked.batch.values[asked.own])
        if "image" in self._kinds:
            _, shown = given_of(self._conditions, asked.batch)  # no conditions take turns: all samples are of the data's mix
            hidden = ~shown if self._task == "inpainting" else torch.ones_like(shown)
            found["samples/restored_error"] = measures.error_where(drawn, asked.batch.x0, hidden)
        return found

    def _of_images(self, drawn: torch.Tensor) -> dict[str, float]:
        coherence = measures.coherence(drawn)
        return {"samples/coherence": coherence, "samples/coherence_of_real": coherence / self._real_coherence}

    def _of_vectors(self, drawn: torch.Tensor) -> dict[str, float]:
        real, ours = vectors.features(self._real.x0, self._family), vectors.features(drawn, self._family)
        found = {"samples/sliced_wasserstein": vectors.sliced_wasserstein(ours, real)}
        found["samples/sliced_wasserstein_of_real"] = self._real_distance(len(drawn))
        if real.shape[1] > 1:
            found["samples/correlation_error"] = vectors.correlation_error(ours, real)
        return found

    def _of_classes(self, drawn: torch.Tensor, asked: Asked) -> dict[str, float]:
        labels = asked.batch.labels
        found = {} if labels is None else self._defects.of_classes(drawn[asked.turns], labels[asked.turns])
        if asked.rows > 1 and self._real.labels is not None:
            real = measures.distance_between_classes(self._real.x0, self._real.labels)
            found["samples/prompt_distance"] = measures.distance_between_conditions(drawn[: asked.grid], asked.rows) / real
        if self._spec.classifier and labels is not None:
            found["samples/class_accuracy"] = self.judge.accuracy(
                self._seen(self._as_real(drawn[asked.turns])), labels[asked.turns]
            )
            found["samples/judged"] = float(len(labels[asked.turns]))
            found["samples/class_accuracy_of_real"] = self.judge.accuracy_on_real
        return found

    def _of_values(self, drawn: torch.Tensor, values: torch.Tensor) -> dict[str, float]:
        known = complete(values)
        if not bool(known.any()) or not bool(complete(self._splits.train.values).any()):
            return {}  # No example has all of them, so that nothing is asked for or nothing can read them.
        error = self.gauge.error(self._seen(self._as_real(drawn)[known]), values[known])
        return {"samples/value_error": error, "samples/value_error_of_real": self.gauge.error_on_real}

    def _as_real(self, drawn: torch.Tensor) -> torch.Tensor:
        """Samples as real examples are kept: images in bytes."""
        return to_uint8(drawn) if self._family == "image" else drawn

    def _seen(self, x: torch.Tensor) -> torch.Tensor:
        """What judges look at: of clouds, whose points may come in any order, features that do not depend on it."""
        return vectors.features(x, self._family).float() if self._family == "points" else x

    def _both_seen(self) -> tuple[Examples, Examples]:
        train, held_out = self._splits.train, self._splits.held_out
        return replace(train, x=self._seen(train.x)), replace(held_out, x=self._seen(held_out.x))

    @cached_property
    def _real_coherence(self) -> float:
        return measures.coherence(self._real.x0)

    def _real_distance(self, count: int) -> float:
        """Between `count` training examples (all, if there are fewer) and the held-out ones: what as many perfect samples would
        have."""
        if count not in self._real_distances:
            real = vectors.features(self._real.x0, self._family)
            # At even steps through the set: files are often sorted.
            places = torch.linspace(0, len(self._splits.train) - 1, min(count, len(self._splits.train))).long()
            train = vectors.features(self._splits.train.batch(places).x0, self._family)
            self._real_distances[count] = vectors.sliced_wasserstein(train, real)
        return self._real_distances[count]

    @cached_property
    def judge(self) -> Judge:
        """The classifier, fitted on first use."""
        self._note(f"fitting the independent classifier on real {'images' if self._family == 'image' else 'examples'}")
        return fit_judge(*self._both_seen())

    @cached_property
    def gauge(self) -> Gauge:
        """The regression that reads continuous values, fitted on first use."""
        self._note("fitting the independent regression of continuous values on real examples")
        return fit_gauge(*self._both_seen())
