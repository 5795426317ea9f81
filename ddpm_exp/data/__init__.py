"""Data sets to batches on the device: range [-1, 1], stateless order, conditions."""
