"""What measures: each observer hooks one part of training and writes numbers into its places."""

from foreshock.probe.observers.embedding import EmbeddingObserver
from foreshock.probe.observers.gradient import GradientObserver
from foreshock.probe.observers.mixing import MixingObserver, find_mixing
from foreshock.probe.observers.observer import Columns, Observer, Places

__all__ = [
    "Columns",
    "EmbeddingObserver",
    "GradientObserver",
    "MixingObserver",
    "Observer",
    "Places",
    "find_mixing",
]
