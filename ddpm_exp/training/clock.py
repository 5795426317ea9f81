"""How long steps take on a device, which is given them ahead of doing them."""

from __future__ import annotations

import time

import torch


class Moment:
    """When a device has done all that it was given before this was made. On a processor that is when it was made."""

    def __init__(self, device: torch.device) -> None:
        self._event: torch.cuda.Event | None = None
        if device.type == "cuda":
            self._event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            self._event.record(torch.cuda.current_stream(device))
        self._at = time.perf_counter()

    def wait(self) -> None:
        """Return when it has come."""
        if self._event is not None:
            self._event.synchronize()

    def since(self, earlier: Moment) -> float:
        """Seconds from `earlier`, of the same device, to this one, which has come."""
        if self._event is None or earlier._event is None:
            return self._at - earlier._at
        return 1e-3 * float(earlier._event.elapsed_time(self._event))


class Clock:
    """Time spent in steps, and in logs where those hold them up, and the images trained; not the pauses between stretches."""

    def __init__(self, device: torch.device) -> None:
        self.images = 0
        self._device = device
        self._began: Moment | None = None
        self._stretches: list[tuple[Moment, Moment]] = []

    def start(self) -> None:
        """Steps begin, on an idle device."""
        self._began = Moment(self._device)

    def stop(self) -> None:
        """No more steps for now. Never waits."""
        if self._began is not None:
            self._stretches.append((self._began, Moment(self._device)))
            self._began = None

    def next(self) -> Clock:
        """One that goes on from where this one stops."""
        after = Clock(self._device)
        if self._began is not None:
            self.stop()
            after._began = self._stretches[-1][1]
        return after

    @property
    def seconds(self) -> float:
        """Of all stretches. Waits for the end of the last."""
        for _, end in self._stretches[-1:]:
            end.wait()
        return sum(end.since(began) for began, end in self._stretches)
