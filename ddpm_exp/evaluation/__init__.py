"""Samples, grids, validation errors, bits per dimension, the classifier, distances in features."""
