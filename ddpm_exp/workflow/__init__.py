"""The whole way from an experiment to a recorded, judged run."""
