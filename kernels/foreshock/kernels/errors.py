"""What can go wrong when a kernel is called."""


class KernelError(ValueError):
    """Base of all kernel errors. A message says what was given, what is allowed, what to do."""


class ShapeError(KernelError):
    """Raised when a tensor's shape does not fit the operation."""


class OptionError(KernelError):
    """Raised when an option has a value that the operation does not know."""


class BackendError(KernelError):
    """Raised when the chosen backend is unknown or cannot run on a tensor."""
