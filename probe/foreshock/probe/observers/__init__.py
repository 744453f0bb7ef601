"""What measures: each observer hooks one part of training and writes numbers into the device row."""

from foreshock.probe.observers.embedding import EmbeddingObserver
from foreshock.probe.observers.gradient import GradientObserver
from foreshock.probe.observers.mixing import MixingObserver, find_mixing

__all__ = ["EmbeddingObserver", "GradientObserver", "MixingObserver", "find_mixing"]
