import uuid
from collections.abc import Iterator

import pytest

from shm.layout import RingLayout
from shm.segment import Segment, create, segment_name


@pytest.fixture
def name() -> str:
    """A segment name that no other test and no farm on this machine has."""
    return segment_name(farm=f"test{uuid.uuid4().hex[:12]}", what="ring", counter=0)


@pytest.fixture
def layout() -> RingLayout:
    return RingLayout(n_blocks=2, slots_per_block=3, slot_bytes=128)


@pytest.fixture
def segment(name: str, layout: RingLayout) -> Iterator[Segment]:
    """One that just holds ``layout``."""
    with create(name, layout.total_bytes) as segment:
        yield segment
