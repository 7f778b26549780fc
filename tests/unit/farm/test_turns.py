"""Jobs in the order of their turns, against sorting all of them."""

from hypothesis import given, settings
from hypothesis import strategies as st

from farm.jobs import Job
from farm.turns import TurnQueue, rank

OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(0, 9)),
        st.tuples(st.just("discard"), st.integers(0, 9)),
        st.tuples(st.just("turn"), st.integers(0, 9)),
        st.tuples(st.just("client"), st.integers(0, 9)),
    ),
    max_size=60,
)
JOBS = st.lists(
    st.tuples(st.integers(0, 2), st.integers(-1, 1), st.sampled_from([None, 1.0, 2.0])),
    min_size=10,
    max_size=10,
)


def job_of(serial: int, client: int, priority: int, deadline: float | None) -> Job:
    return Job(
        job_id=f"{serial}",
        serial=serial,
        client=b"%d" % client,
        avatar="a",
        model="m",
        priority=priority,
        deadline=deadline,
    )


@settings(max_examples=300, deadline=None)
@given(JOBS, OPERATIONS)
def test_the_order_is_that_of_sorting_all(
    wanted: list[tuple[int, int, float | None]], operations: list[tuple[str, int]]
) -> None:
    jobs = [job_of(serial, *fields) for serial, fields in enumerate(wanted)]
    turns: dict[bytes, int] = {}
    queue = TurnQueue(turns)
    members: set[int] = set()
    for n, (what, serial) in enumerate(operations, start=1):
        job = jobs[serial]
        match what:
            case "put":
                queue.put(job)
                members.add(serial)
            case "discard":
                queue.discard(serial)
                members.discard(serial)
            case "turn":
                job.last_turn = turns[job.client] = n
                queue.moved(job.client)
                if serial in queue:
                    queue.put(job)
            case "client":  # it comes back on another line
                job.client = b"%d" % (n % 3)
                if serial in queue:
                    queue.put(job)

        plain = sorted(
            (jobs[k] for k in members),
            key=lambda job: (rank(job), turns.get(job.client, 0), job.client, job.last_turn,
                             job.serial),
        )  # fmt: skip
        assert list(queue.serials()) == [job.serial for job in plain]
        assert len(queue) == len(plain)
        first = queue.first_key()
        assert (first[-1] if first else None) == (plain[0].serial if plain else None)


def test_priority_goes_before_deadline_and_restored_jobs_come_last() -> None:
    jobs = [
        job_of(0, 0, 0, None),
        job_of(1, 0, 0, 9.0),
        job_of(2, 0, 0, 5.0),
        job_of(3, 0, 1, None),
        job_of(4, 0, 9, 1.0),
    ]
    jobs[4].is_restored = True
    queue = TurnQueue({})
    for job in jobs:
        queue.put(job)

    assert list(queue.serials()) == [3, 2, 1, 0, 4]
