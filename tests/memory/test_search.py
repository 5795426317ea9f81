"""The search for a micro-batch: few attempts, the fastest that fits, the least memory where that is as fast."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from ddpm_exp.memory.search import Attempt, Caps, Found, search


class Device:
    """Attempts as on a device of which memory and speed are known."""

    def __init__(self, speed: Callable[[int], float], *, room: float = float("inf"), seconds: float = 1.0) -> None:
        self._speed, self._room, self._seconds = speed, room, seconds
        self.tried: list[int] = []

    def __call__(self, micro: int) -> Attempt:
        assert micro not in self.tried
        self.tried.append(micro)
        if micro > self._room:
            return Attempt(micro, None, seconds=self._seconds)
        return Attempt(micro, 100 * micro, self._speed(micro), self._seconds)


def divisors(share: int) -> list[int]:
    return [size for size in range(1, share + 1) if share % size == 0]


def chosen(found: Found) -> int:
    assert found.chosen is not None
    return found.chosen.micro_batch


def test_a_whole_step_that_is_fastest_takes_two_attempts() -> None:
    device = Device(lambda micro: micro)
    found = search(divisors(128), 128, 10**9, device)
    assert device.tried == [128, 64]
    assert chosen(found) == 128 and found.why == "the fastest of 2 that fit"


def test_it_doubles_while_that_is_faster_and_stops_when_it_is_not() -> None:
    device = Device(lambda micro: min(micro, 64))
    found = search(divisors(1024), 16, 10**9, device)
    assert device.tried == [16, 32, 64, 128]  # 64 is known to be faster than 32
    assert chosen(found) == 64


def test_of_equally_fast_sizes_the_one_with_the_least_memory_is_taken_and_said_so() -> None:
    device = Device(lambda micro: 1000 + micro / 100 if micro >= 32 else 500)
    found = search(divisors(128), 128, 10**9, device)
    assert device.tried == [128, 64, 32, 16]
    assert chosen(found) == 32
    assert "within 2% of the fastest (1,001 images/s at 128), with 0 MiB less memory" in found.why


def test_between_what_fits_and_what_does_not_it_bisects() -> None:
    device = Device(lambda micro: micro, room=75)
    found = search(divisors(720), 40, 10**9, device, Caps(attempts=20))
    assert device.tried[:2] == [40, 80] and 72 in device.tried
    assert chosen(found) == 72 and min(device.tried[2:4]) >= 45


def test_what_runs_does_not_count_where_it_leaves_no_headroom() -> None:
    found = search(divisors(128), 128, 100 * 32, Device(lambda micro: micro))
    assert chosen(found) == 32
    assert [one.verdict(100 * 32) for one in found.attempts[:3]] == ["beyond the headroom", "beyond the headroom", "fits"]


def test_nothing_that_fits_is_no_choice() -> None:
    device = Device(lambda micro: micro, room=0)
    found = search(divisors(64), 16, 10**9, device, Caps(attempts=2))
    assert found.chosen is None and device.tried == [16, 8, 4, 2, 1]  # caps end no search that has found nothing yet


def test_attempts_and_seconds_are_capped_and_the_cap_is_told() -> None:
    device = Device(lambda micro: micro)
    found = search(divisors(4096), 1, 10**9, device, Caps(attempts=4))
    assert len(device.tried) == 4 and found.why.endswith("no more than 4 are tried")
    slow = Device(float, seconds=6.0)
    found = search(divisors(4096), 1, 10**9, slow, Caps(attempts=9, seconds=25.0))
    assert len(slow.tried) == 4 and found.why.endswith("after 24 s no further one is tried")
    begins_slowly = [Attempt(1, 1, 1.0, 20.0, 0.0, 17.0), Attempt(2, 1, 2.0, 3.0), Attempt(4, 1, 4.0, 3.0)]
    for seconds, tried in ((9.0, 3), (8.0, 2)):
        found = search([1, 2, 4], 1, 10**9, lambda micro: begins_slowly[micro // 2], Caps(seconds=seconds))
        assert len(found.attempts) == tried and found.seconds == 3 * tried


def test_without_speed_the_largest_that_fits_is_taken_whatever_the_clock_says() -> None:
    for speed in (lambda micro: 1.0 / micro, lambda micro: float(micro)):
        assert chosen(search(divisors(128), 8, 100 * 50, Device(speed), by_speed=False)) == 32
    slow = Device(lambda micro: 1.0, seconds=1000.0)
    assert chosen(search(divisors(128), 8, 100 * 50, slow, by_speed=False)) == 32


@settings(max_examples=150, deadline=None)
@given(
    share=st.integers(1, 600),
    pick=st.floats(0, 1),
    room=st.integers(0, 700),
    knee=st.integers(1, 700),
    attempts=st.integers(1, 8),
)
def test_whatever_the_device_the_choice_divides_the_step_fits_and_is_nearly_the_fastest_tried(
    share: int, pick: float, room: int, knee: int, attempts: int
) -> None:
    sizes = divisors(share)
    start = sizes[int(pick * (len(sizes) - 1))]
    device = Device(lambda micro: float(min(micro, knee)), room=room)
    found = search(sizes, start, 100 * share, device, Caps(attempts=attempts))
    if room < 1:
        assert found.chosen is None
        return
    micro, fitting = chosen(found), [size for size in device.tried if size <= room]
    assert share % micro == 0 and micro <= room
    assert min(micro, knee) >= 0.98 * max(min(size, knee) for size in fitting)
    halvings = sum(size > room for size in device.tried if size <= start) + 1
    assert len(device.tried) <= max(attempts, halvings)


def test_an_attempt_survives_as_json() -> None:
    for one in (Attempt(8, 100, 5.0, 1.0, 0.5, 0.6, (1, 2), (3, 4)), Attempt(8, None)):
        assert Attempt.from_json(one.to_json()) == one
