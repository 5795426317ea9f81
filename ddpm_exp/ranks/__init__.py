"""Several processes, one per device, that compute one run together. Knows no experiment's content, no training, no data."""
