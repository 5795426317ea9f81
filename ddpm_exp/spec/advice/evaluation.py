"""Advice on measuring and judging: how often, on how many images, with how many seeds."""

from __future__ import annotations

from ddpm_exp.spec.advice.rule import Advice, Case, rule

_FEWEST_FOR_FD = 2_560
"""Twice the 1,280 features: below it the covariance of the samples is singular or nearly so."""


@rule(
    "no evaluation between the first step and the last",
    reads=("evaluation.every", "training.duration"),
    guides=("000", "002", "004"),
)
def rare_evaluation(case: Case) -> Advice | None:
    every, total = case.images(case.experiment.evaluation.every), case.images(case.experiment.training.duration)
    if every is None or total is None or every < total:
        return None
    says = "guides 000 and 002 look at samples every few epochs, guide 004 every 5: nothing shows between the start and the end"
    fix = "set evaluation.every to a tenth of training.duration"
    return Advice("evaluation.every", case.experiment.evaluation.every, says, ("000", "002", "004"), fix)


@rule("FID of fewer than 50,000 images", reads=("evaluation.fid",), guides=("001", "Heusel et al. 2017"))
def small_fid(case: Case) -> Advice | None:
    fid = case.experiment.evaluation.fid
    if fid is None or "fid" not in fid.metrics or fid.images >= 50_000:
        return None
    says = "FID falls with the number of images: only 50,000 compare with papers, or with guide 001's 20 to 30"
    fix = "set evaluation.fid.images to 50000, or compare with your own runs only"
    return Advice("evaluation.fid.images", fid.images, says, ("001", "Heusel et al. 2017"), fix)


@rule("FD of too few images", reads=("evaluation.fd",), guides=("arithmetic", "Heusel et al. 2017"))
def small_fd(case: Case) -> Advice | None:
    fd = case.experiment.evaluation.fd
    if fd is None or "fd_effnet" not in fd.metrics or fd.images >= _FEWEST_FOR_FD:
        return None
    says = (
        "the distance falls with the number of images, and at so few most of it is bias: it compares with no paper at any number, "
        "and here hardly with itself"
    )
    fix = f"set evaluation.fd.images to {_FEWEST_FOR_FD} or more, the same in every arm, or judge by kid_effnet, which has no bias"
    return Advice("evaluation.fd.images", fd.images, says, ("arithmetic", "Heusel et al. 2017"), fix)


@rule("a decision with criteria but a single seed", reads=("decision.seeds",), guides=("arithmetic",))
def single_seed(case: Case) -> Advice | None:
    decision = case.experiment.decision
    if decision is None or len(decision.seeds) > 1 or not (decision.accept_when or decision.reject_when):
        return None
    says = "one run shows no spread between seeds, so no criterion can hold with any confidence: the verdict stays inconclusive"
    return Advice("decision.seeds", decision.seeds, says, ("arithmetic",), "plan at least two seeds, better three: (0, 1, 2)")


@rule(
    "a criterion asks about a point that no evaluation measures",
    reads=("decision.accept_when", "decision.reject_when", "evaluation.every", "training.duration"),
    guides=("arithmetic",),
)
def unmeasured_point(case: Case) -> Advice | None:
    decision, evaluation, training = case.experiment.decision, case.experiment.evaluation, case.experiment.training
    every, total = case.images(evaluation.every), case.images(training.duration)
    if decision is None or every is None or total is None:
        return None
    for criterion in (*decision.accept_when, *decision.reject_when):
        point = None if criterion.at_point is None else case.images(criterion.at_point)
        measured = point is None or point == total or (point < total and point % every == 0)
        if measured or not criterion.metric.startswith(("val/", "samples/")):
            continue
        says = f"it stays open: evaluations come every {evaluation.every} until {training.duration}"
        fix = f"train for {criterion.at_point} or longer, or evaluate at a divisor of {criterion.at_point}"
        return Advice("decision", str(criterion), says, ("arithmetic",), fix)
    return None


RULES = (rare_evaluation, small_fid, small_fd, single_seed, unmeasured_point)
