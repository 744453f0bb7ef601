"""What can go wrong between the probe and the collector."""


class WireError(ValueError):
    """Base of all wire errors. A message says what was given, what is allowed, what to do."""


class MalformedError(WireError):
    """Raised when bytes are truncated, corrupted or not what they claim to be."""


class VersionError(WireError):
    """Raised when a message was written by a newer foreshock than this one can read."""


class TooLargeError(WireError):
    """Raised when a body, decompressed or not, passes its limit."""


class UnknownSignalError(WireError):
    """Raised when a column name does not belong to the catalogue and is no legal series name."""
