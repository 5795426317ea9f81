"""The error of a process whose companions are gone. Loads no torch."""

from __future__ import annotations

from ddpm_exp.spec.errors import RunError


class Lost(RunError):  # noqa: N818 - a state of things
    """Another process of the run has ended or does not answer; what it had to say about that is in its own message."""
