"""Whose turn it is."""

from farm.jobs import NOBODY, Job
from farm.state import FarmState


def by_turn(state: FarmState) -> list[Job]:
    """Priority first, then the earliest deadline, then the client and job that waited longest.

    Nothing is begun for a client that went away; one that lost its job by our fault comes last.
    """
    never = float("inf")
    wanted = [job for job in state.jobs.values() if job.client != NOBODY or job.is_restored]
    client_turns: dict[bytes, int] = {}
    for job in wanted:
        client_turns[job.client] = max(job.last_turn, client_turns.get(job.client, 0))
    return sorted(
        wanted,
        key=lambda job: (
            job.is_restored,
            -job.priority,
            never if job.deadline is None else job.deadline,
            client_turns[job.client],
            job.last_turn,
            job.serial,
        ),
    )
