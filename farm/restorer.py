"""The jobs of the broker before: taken over from the journal, or given up.

Runs once, before the first word of any client is heard.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from farm import events as happened
from farm import protocol
from farm.catalog import Catalog
from farm.durable import Durable, Keeper
from farm.ended_jobs import Ended
from farm.errors import UnknownAvatar, UnknownModel
from farm.job_desk import JobDesk
from farm.job_store import SAMPLE_BYTES, JobStore, first_sample_of
from farm.journal import Entry
from farm.model_catalog import ModelCatalog
from workers.errors import BundleError

MAX_BROKERS = 10  #: that die under a job, in a row, before a frame of it is acknowledged


class Restorer:
    """Tells the scheduler of every job that is not over, and the desk of those that are."""

    def __init__(
        self,
        *,
        keeper: Keeper,
        catalog: Catalog,
        models: ModelCatalog,
        jobs: JobDesk,
        events: deque[happened.Event],
        settle: Callable[[], None],
    ) -> None:
        """``settle`` : lets the scheduler take the events at once."""
        self._keeper = keeper
        self._catalog = catalog
        self._models = models
        self._jobs = jobs
        self._events = events
        self._settle = settle

    def restore(self) -> None:
        for entry in self._keeper.entries():
            if entry.outcome is not None:
                self._remember(entry, _outcome(entry.outcome))
                continue
            if entry.n_brokers >= MAX_BROKERS:
                message = f"{entry.n_brokers} brokers died while it ran, and it got no further"
                self._give_up(entry, "POISON", message)
                continue
            self._keeper.take_over(entry.job_id)
            try:
                self._take_over(entry)
            except UnknownModel as error:
                self._give_up(entry, "UNKNOWN_MODEL", str(error))
            except (UnknownAvatar, BundleError, LookupError, TypeError) as error:
                self._give_up(entry, "BAD_BUNDLE", str(error))
            else:
                self._settle()
            self._jobs.opening = None
        self._jobs.commit()  # before anything can kill us: that counts

    def _take_over(self, entry: Entry) -> None:
        assert isinstance(self._keeper, Durable), "others have no entries"
        wanted: Any = entry.options
        opened = replace(protocol.Open(**wanted), first_frame=entry.next_frame)
        bundle = self._catalog.find(opened.avatar)
        model = self._models.find(opened.model)
        sample_bytes = SAMPLE_BYTES[opened.sample_format]
        n_bytes = self._keeper.reopen(entry.key, sample_bytes)
        begin = first_sample_of(entry.next_frame, n_bytes // sample_bytes)
        store = JobStore(opened, bundle, first_sample=begin)
        store.key = entry.key
        if store.fingerprint != entry.fingerprint:
            raise BundleError(f"avatar {opened.avatar} was replaced while the job ran")
        store.hear_again(_chunks(self._keeper, entry.key, begin * sample_bytes, n_bytes))
        has_ended = entry.total_samples is not None and store.n_samples >= entry.total_samples
        if has_ended:
            store.end()
        self._jobs.opening = store
        now = time.monotonic()
        self._events.append(
            happened.JobRestored(
                job_id=entry.job_id,
                avatar=opened.avatar,
                model=model.model,
                model_bytes=model.file_bytes,
                priority=opened.priority,
                deadline=None if entry.deadline is None else now + entry.deadline - time.time(),
                first_frame=entry.next_frame,
                first_span=store.first_span,
                n_samples=store.n_samples,
                n_ready_spans=store.n_ready_spans,
                total_frames=store.total_frames if has_ended else None,
            )
        )

    def _give_up(self, entry: Entry, code: str, message: str) -> None:
        failed = protocol.Failed(job_id=entry.job_id, code=code, message=message, retryable=False)
        self._jobs.end(self._remember(entry, failed))

    def _remember(self, entry: Entry, message: protocol.Done | protocol.Failed) -> Ended:
        age_s = max(0.0, time.time() - entry.ended) if entry.ended is not None else 0.0
        job = Ended(
            job_id=entry.job_id,
            fingerprint=entry.fingerprint,
            message=message,
            at=time.monotonic() - age_s,
            key=entry.key,
            n_taken=message.frames,
        )
        self._jobs.ended.add(job)
        return job


def _chunks(keeper: Durable, key: int, begin: int, end: int) -> Iterator[bytes]:
    for at in range(begin, end, protocol.MAX_CHUNK_BYTES):
        yield keeper.speech(key, at, min(protocol.MAX_CHUNK_BYTES, end - at))


def _outcome(outcome: dict[str, Any]) -> protocol.Done | protocol.Failed:
    fields = dict(outcome)
    kind = protocol.Done if fields.pop("kind") == "Done" else protocol.Failed
    return kind(**fields)
