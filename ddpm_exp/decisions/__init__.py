"""Statistics, verdicts, the ADR page and the board."""
