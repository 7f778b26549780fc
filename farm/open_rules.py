"""What an ``open`` or ``resume`` may say, beyond its types."""

from farm import protocol
from farm.job_store import SAMPLE_BYTES
from workers.quality import MAX_QUALITY


def refusal(wanted: protocol.Open) -> str | None:
    """What is wrong with an Open; None when nothing is."""
    if not protocol.JOB_ID.fullmatch(wanted.job_id):
        return f"job_id must be 1..{protocol.MAX_ID_CHARS} of letters, digits, spaces and .:@_+-"
    if wanted.sample_format not in SAMPLE_BYTES:
        return f"sample_format must be one of {', '.join(SAMPLE_BYTES)}"
    if wanted.first_frame < 0:
        return "first_frame must be at least 0"
    if wanted.credit < 0:
        return "credit must be at least 0"
    if not -100 <= wanted.priority <= 100:
        return "priority must be -100..100"
    if wanted.deadline_s is not None and not 0 < wanted.deadline_s < 1e9:
        return "deadline_s must be above 0"
    if wanted.quality is not None and not 1 <= wanted.quality <= MAX_QUALITY:
        return f"quality must be 1..{MAX_QUALITY}"
    return refused_line(wanted)


def refused_line(wanted: protocol.Open | protocol.Resume) -> str | None:
    """The same for how frames are to come."""
    if wanted.encoding not in protocol.ENCODINGS:
        return f"encoding must be one of {', '.join(protocol.ENCODINGS)}"
    if wanted.template_bytes < 0:
        return "template_bytes must be at least 0"
    return None
