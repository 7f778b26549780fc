"""How a job can end for whoever submitted it, when not with its last frame."""

from farm import protocol
from farm.errors import BadRequest, FarmError

#: Codes whose cause lies with whoever submitted the job.
CALLERS_CODES = frozenset(
    {"BAD_AUDIO", "BAD_BUNDLE", "BAD_MESSAGE", "BAD_VERSION", "CONFLICT", "DEADLINE",
     "MODEL_FAILED", "POISON", "SILENT", "TOO_LARGE", "UNKNOWN_AVATAR", "UNKNOWN_JOB",
     "UNKNOWN_MODEL"}
)  # fmt: skip


class FarmLost(FarmError):
    """The farm is gone, or has lost a job that cannot be told again: submit it once more."""


class JobFailed(FarmError):
    """The farm gave a job up.  ``code`` is stable; see PROTOCOL.md."""

    def __init__(self, failed: protocol.Failed | protocol.Error) -> None:
        super().__init__(failed.message)
        self.code = failed.code
        self.retryable = failed.retryable
        self.retry_after_s = getattr(failed, "retry_after_s", 0.0)  #: 0: nobody knows


class JobRefused(JobFailed, BadRequest):
    """The same, where whoever submitted the job can mend it."""


class ModelRefused(BadRequest):
    """The farm has no such model, cannot load it, or will not unload it.  ``code`` is stable."""

    def __init__(self, answer: protocol.ModelAnswer) -> None:
        super().__init__(answer.message)
        self.code = answer.code


def cancelled(job_id: str) -> protocol.Failed:
    return protocol.Failed(job_id=job_id, code="CANCELLED", message="cancelled", retryable=False)


def taken_elsewhere(job_id: str, n_frames: int) -> protocol.Failed:
    return protocol.Failed(
        job_id=job_id,
        code="CONFLICT",
        message=f"{n_frames} frames of job {job_id} were taken by another client: use another id",
        retryable=False,
    )


def failure(failed: protocol.Failed) -> JobFailed:
    kind = JobRefused if failed.code in CALLERS_CODES else JobFailed
    return kind(failed)
