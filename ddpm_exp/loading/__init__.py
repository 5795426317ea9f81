"""From a file and overrides to an `Experiment`, with the origin of each value, the diff of two, and errors that suggest."""
