"""What a compositor tells of its frames' steps, and when."""

from workers import protocol, wire
from workers.histogram import Histogram, StepHistograms
from workers.protocol import Times
from workers.step_times import TELL_EVERY_S, StepTimes

FRAME = {"blend": 0.001, "encode": 0.004}


class Heard:
    """The broker and the log."""

    def __init__(self) -> None:
        self.times: list[Times] = []
        self.lines: list[str] = []
        self.steps = StepTimes(self.times.append, self.lines.append)


def n_frames(told: Times, step: str) -> int:
    return Histogram.of(told.steps[step]).n


def test_it_tells_once_a_second_at_most() -> None:
    heard = Heard()

    for k in range(100):  # five seconds
        heard.steps.count(FRAME, 0.05 * k)
        heard.steps.tell(0.05 * k)

    assert len(heard.times) == len(heard.lines) == 4
    assert sum(n_frames(told, "blend") for told in heard.times) <= 100


def test_each_frame_is_told_once() -> None:
    heard = Heard()
    heard.steps.count(FRAME, 0.0)
    heard.steps.tell(TELL_EVERY_S)
    heard.steps.count(FRAME, 2.0)
    heard.steps.count(FRAME, 2.0)
    heard.steps.tell(2.0 + TELL_EVERY_S)

    assert [n_frames(told, "encode") for told in heard.times] == [1, 2]


def test_it_is_silent_when_there_is_nothing_to_tell() -> None:
    heard = Heard()

    heard.steps.tell(100.0)
    heard.steps.count({}, 100.0)
    heard.steps.tell(200.0)

    assert heard.times == []
    assert heard.lines == []


def test_what_was_counted_for_a_dead_broker_is_not_told_to_the_next() -> None:
    heard = Heard()
    heard.steps.count(FRAME, 0.0)

    heard.steps.forget()
    heard.steps.tell(100.0)

    assert heard.times == []


def test_the_line_for_people_has_every_step() -> None:
    heard = Heard()
    heard.steps.count(FRAME, 0.0)
    heard.steps.count({"blend": 0.001}, 0.0)

    heard.steps.tell(TELL_EVERY_S)

    (line,) = heard.lines
    frames, blend, encode = line.split()
    assert frames == "frames=2"
    assert blend.startswith("blend=1.00/")
    assert encode.startswith("encode=4.00/")


def test_times_of_every_step_fit_into_a_header() -> None:
    steps = StepHistograms()
    for step in ("convert", "resize", "blend", "encode", "splice", "decode"):
        for k in range(-5, 15):
            for _ in range(100):
                steps.add(step, 2.0**k)
    told = Times(steps=steps.to_lists())

    header = wire.encode(told, protocol.VERSION)

    assert len(header) < wire.MAX_HEADER_BYTES / 4
    assert wire.decode(header, protocol.FROM_WORKER, protocol.VERSION) == told
