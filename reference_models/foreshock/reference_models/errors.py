"""What can go wrong before or while a reference model trains."""


class ModelsError(ValueError):
    """Base of all errors of this room. A message says what was given, what is allowed, what to do."""


class ConfigError(ModelsError):
    """Raised when a model's or a training's configuration cannot be."""


class CorpusError(ModelsError):
    """Raised when a domain's text is missing, empty or shorter than a context."""


class CheckpointError(ModelsError):
    """Raised when a checkpoint is missing, damaged, of another version or of another run."""


class DemoError(ModelsError):
    """Raised when the demo's collector does not start or does not answer."""


class LabelError(ModelsError):
    """Raised when losses, steps or thresholds given to the labeller cannot be."""


class ScenarioError(ModelsError):
    """Raised when a scenario's file cannot be, or no such scenario is known."""


class RecordError(ModelsError):
    """Raised when a recorded run is damaged, of another version, or not where it should be."""


class RecordVersionError(RecordError):
    """Raised when a run was recorded in another format, or with another configuration, than is asked for."""


class StressError(ModelsError):
    """Raised when a stress test or a plan is asked for what cannot be, or its results cannot be read."""


class ScoreError(ModelsError):
    """Raised when recorded runs cannot be scored, or not in the way that is asked for."""
