import pytest
from hypothesis import given
from hypothesis import strategies as st

from shm.layout import LINE_BYTES, N_HEADER_WORDS, PAGE_BYTES, WORD_BYTES, RingLayout

layouts = st.builds(
    RingLayout,
    n_blocks=st.integers(1, 9),
    slots_per_block=st.integers(1, 40),
    slot_bytes=st.integers(1, 50).map(lambda lines: lines * LINE_BYTES),
)


def test_a_ring_of_known_size_lies_as_drawn() -> None:
    layout = RingLayout(n_blocks=2, slots_per_block=3, slot_bytes=128)

    assert layout.n_words == 8 + 6 + 12
    assert layout.payload_offset == 4096
    assert [layout.slot_offset(slot) for slot in (0, 1, 5)] == [4096, 4224, 4736]
    assert [layout.block_offset(block) for block in (0, 1)] == [4096, 4480]
    assert layout.total_bytes == 4096 + 6 * 128
    assert layout.generation_word(5) == 13
    assert [layout.tag_words(slot) for slot in (0, 5)] == [(14, 15), (24, 25)]


def test_more_words_than_a_page_holds_push_the_payload_to_the_next() -> None:
    fits = RingLayout(n_blocks=1, slots_per_block=168, slot_bytes=64)  # 8 + 3 x 168 = 512 words
    spills = RingLayout(n_blocks=1, slots_per_block=169, slot_bytes=64)

    assert (fits.payload_offset, spills.payload_offset) == (4096, 8192)


@given(layouts)
def test_slots_follow_each_other_without_gaps_to_the_end(layout: RingLayout) -> None:
    starts = [layout.slot_offset(slot) for slot in range(layout.n_slots)]

    assert starts == list(range(layout.payload_offset, layout.total_bytes, layout.slot_bytes))
    assert layout.payload_offset % PAGE_BYTES == 0
    assert all(start % LINE_BYTES == 0 for start in starts)


@given(layouts)
def test_a_block_is_its_slots_in_order(layout: RingLayout) -> None:
    blocks = range(layout.n_blocks)

    assert [s for b in blocks for s in layout.block_slots(b)] == list(range(layout.n_slots))
    assert all(
        layout.block_offset(b) == layout.slot_offset(layout.block_slots(b)[0]) for b in blocks
    )


@given(layouts)
def test_no_two_things_share_a_word_and_no_word_lies_in_the_payload(layout: RingLayout) -> None:
    slots = range(layout.n_slots)
    words = [layout.generation_word(s) for s in slots]
    words += [word for s in slots for word in layout.tag_words(s)]

    assert sorted(words) == list(range(N_HEADER_WORDS, layout.n_words))
    assert layout.n_words * WORD_BYTES <= layout.payload_offset


@pytest.mark.parametrize(
    ("sizes", "complaint"),
    [
        ((0, 1, 64), "n_blocks = 0"),
        ((1, 0, 64), "slots_per_block = 0"),
        ((1, 1, 0), "slot_bytes = 0"),
        ((1, 1, -64), "slot_bytes = -64"),
        ((1, 1, 100), "slot_bytes = 100: must be a multiple of 64"),
    ],
)
def test_impossible_sizes_are_refused_by_name(sizes: tuple[int, int, int], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        RingLayout(*sizes)


@pytest.mark.parametrize("slot", [-1, 6])
def test_a_slot_outside_the_ring_has_no_place(slot: int, layout: RingLayout) -> None:
    for place in (layout.slot_offset, layout.generation_word, layout.tag_words):
        with pytest.raises(IndexError, match=f"slot {slot} of a ring of 6 slots"):
            place(slot)


@pytest.mark.parametrize("block", [-1, 2])
def test_a_block_outside_the_ring_has_no_place(block: int, layout: RingLayout) -> None:
    with pytest.raises(IndexError, match=f"block {block} of a ring of 2 blocks"):
        layout.block_offset(block)
