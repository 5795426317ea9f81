"""What is unwise but possible: the guides' ranges and rules of thumb, each naming its guide and the fix. Errors are in `rules`."""

from ddpm_exp.spec.advice.advise import advise, advise_change
from ddpm_exp.spec.advice.rule import Advice

__all__ = ["Advice", "advise", "advise_change"]
