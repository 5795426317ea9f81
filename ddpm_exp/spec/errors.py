"""Errors a user can mend: one message with the field, the value, the rule and the fix. Not for bugs of ours."""

from __future__ import annotations

_LONGEST = 80
"""Characters of a value that a message shows."""


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


class UserError(Exception):
    """A mistake or a missing thing that the user can mend; the command line prints it without a traceback.

    `exit_code` is 2 for wrong input and 1 where a run or the machine failed.
    """

    exit_code = 2

    def __init__(
        self,
        rule: str,
        *,
        field: str | None = None,
        value: object = None,
        fix: str | None = None,
        origin: str | None = None,
    ) -> None:
        self.rule = rule
        """What must hold, as a sentence."""
        self.field = field
        """Dotted path of the field, a file or a command-line word."""
        self.value = value
        """The offending value, if there is one."""
        self.fix = fix
        """What to do, as a sentence."""
        self.origin = origin
        """Where the value came from: `file.py:12` or the override as typed."""
        super().__init__(str(self))

    def __str__(self) -> str:
        head = self.field or ""
        if self.field and self.value is not None:
            head += f" = {_short(self.value)}"
        lines = [f"{head}: {self.rule}" if head else self.rule]
        if self.origin:
            lines.append(f"  set at: {self.origin}")
        if self.fix:
            lines.append(f"  fix: {self.fix}")
        return "\n".join(lines)


class UserErrors(UserError):  # noqa: N818 - a plural: it reads as the several UserErrors that it holds
    """Several mistakes found in one pass, each with its own field, value, rule and fix."""

    def __init__(self, errors: list[UserError]) -> None:
        self.errors = errors
        super().__init__("\n".join(str(error) for error in errors))


class RunError(UserError):
    """Input was right, but the run or the machine failed: disk full, corrupt file, non-finite loss."""

    exit_code = 1
