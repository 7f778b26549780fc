"""What can go wrong on this side of the farm, and whose fault it is."""

from workers.errors import CallerFault


class FarmError(Exception):
    """Root of this layer's errors."""


class BadRequest(FarmError, CallerFault):
    """What the caller asked for cannot be done; the message names the file and the reason."""


class AudioUnreadable(BadRequest):
    """The speech file is missing, not media, or holds no sound."""


class EspeakMissing(BadRequest):
    """A text is to be spoken, and the program that speaks is not installed or does not run."""


class UnknownVoice(BadRequest):
    """espeak-ng has no voice of that name."""


class TextUnspoken(BadRequest):
    """The text is empty, is no text, or espeak-ng makes no sound of it."""


class OutputRefused(BadRequest):
    """The output cannot be written where, or as what, the caller said."""


class UnknownAvatar(BadRequest):
    """No avatar has that id, and no bundle is at that path."""


class UnknownModel(BadRequest):
    """The farm has no model of that id."""


class SourceUnusable(BadRequest):
    """What an avatar is to be built from lacks something or contradicts itself."""


class AvatarRefused(BadRequest):
    """An avatar cannot be built under that id, or not where avatars are kept."""


class ModelNotWritten(BadRequest):
    """A model cannot be written there: something else is in the way, or the place is read-only."""


class CacheUnusable(BadRequest):
    """The cache directory cannot be written."""


class IllegalTransition(FarmError):
    """We are wrong: a state machine was asked for a move it does not have."""

    def __init__(self, subject: str, state: str, event: str) -> None:
        super().__init__(f"{subject} is {state}: no move for {event!r}")
        self.subject, self.state, self.event = subject, state, event
