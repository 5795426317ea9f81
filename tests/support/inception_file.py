"""A file of random Inception weights in torch-fidelity's format: for the wiring of FID, not for its values.

The real weights must be downloaded. torch's default initialisation lets features collapse, so that FID is 0 for any two
sets; He initialisation keeps them apart.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch


def write_random_inception(path: Path, seed: int = 0) -> Path:
    """Write `path`, about 96 MB; the same weights for the same seed."""
    import torch_fidelity.feature_extractor_inceptionv3 as library

    class Untrained(library.FeatureExtractorInceptionV3):  # type: ignore[misc]
        """Takes no weights on construction; its parameters keep what they were given."""

        def load_state_dict(self, *args: Any, **kwargs: Any) -> None:
            return None

    torch.save({}, path)
    torch.manual_seed(seed)
    extractor = Untrained("inception-v3-compat", ["2048"], feature_extractor_weights_path=str(path))
    for module in extractor.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    torch.save(extractor.state_dict(), path)
    return path
