"""What can go wrong in the probe. None of it reaches training, except what the user raises."""


class ProbeError(Exception):
    """Base of all probe errors."""


class AttachError(ProbeError):
    """Raised by `attach` when it is called in a way that cannot work; training has not begun."""


class SpoolError(ProbeError):
    """Raised when the spool's folder cannot be read or written."""


class StopTraining(Exception):
    """Raised by a user's `on_alert` to leave the training loop; the only exception let through."""
