"""Comparisons as terminal tables, Markdown and JSON."""
