"""What can go wrong on this side of the farm, and whose fault it is."""


class FarmError(Exception):
    """Root of this layer's errors."""


class BadRequest(FarmError):
    """What the caller asked for cannot be done; the message names the file and the reason."""


class AudioUnreadable(BadRequest):
    """The speech file is missing, not media, or holds no sound."""


class OutputRefused(BadRequest):
    """The output cannot be written where, or as what, the caller said."""


class UnknownAvatar(BadRequest):
    """No avatar has that id, and no bundle is at that path."""
