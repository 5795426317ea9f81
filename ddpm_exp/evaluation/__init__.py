"""Samples, grids, validation errors, the classifier, FID."""
