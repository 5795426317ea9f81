"""From the numbers a network sees back to the data's own units, columns and files. Holds what was fitted; never fits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray


class Codec(ABC):
    """Undoes the scaling of one data set; plain JSON and back."""

    kind: ClassVar[str]
    """Under which name JSON keeps it."""

    @property
    @abstractmethod
    def columns(self) -> list[str]:
        """Names of the columns that `frame` gives."""

    @abstractmethod
    def encode(self, raw: NDArray[np.float64]) -> NDArray[np.float64]:
        """Numbers in the data's own units, laid out as x [N, *shape], to what the network sees."""

    @abstractmethod
    def decode(self, x: Tensor) -> pd.DataFrame | NDArray[np.float64]:
        """float [N, *shape] in the data's own units: a table with the columns' types, or an array laid out as the file was
        (sequences [N, channels, length], points [N, count, dimensions], Gaussians [N, features])."""

    @abstractmethod
    def frame(self, x: Tensor) -> pd.DataFrame:
        """The same as a table with one row per example."""

    def csv(self, x: Tensor) -> bytes:
        """A file with one row per example of float [N, *shape], after a row with the columns' names."""
        return self.frame(x).to_csv(index=False).encode()

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """What was fitted, as plain lists, strings and numbers: the arguments of `from_state`."""

    @classmethod
    @abstractmethod
    def from_state(cls, state: dict[str, Any]) -> Codec:
        """The inverse of `state`."""

    def to_json(self) -> dict[str, Any]:
        """What `codecs.codec_from_json` reads."""
        return {"kind": self.kind, **self.state()}
