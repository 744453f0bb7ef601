"""What measures: each observer hooks one part of training and writes numbers into its places."""

from foreshock.probe.observers.attention import AttentionObserver
from foreshock.probe.observers.domains import DomainObserver
from foreshock.probe.observers.embedding import EmbeddingObserver
from foreshock.probe.observers.gradient import GradientObserver
from foreshock.probe.observers.guarded import GuardedObserver
from foreshock.probe.observers.mixing import MixingObserver
from foreshock.probe.observers.norms import NormObserver
from foreshock.probe.observers.observer import Columns, Observer, Places
from foreshock.probe.observers.orthogonality import OrthogonalityObserver
from foreshock.probe.observers.partition import PartitionObserver
from foreshock.probe.observers.replay import ReplayObserver
from foreshock.probe.observers.routing import RoutingObserver
from foreshock.probe.observers.stream import StreamObserver
from foreshock.probe.observers.swiglu import SwigluObserver
from foreshock.probe.observers.tear import TearObserver
from foreshock.probe.observers.trust import TrustObserver
from foreshock.probe.observers.update import UpdateObserver

__all__ = [
    "AttentionObserver",
    "Columns",
    "DomainObserver",
    "EmbeddingObserver",
    "GradientObserver",
    "GuardedObserver",
    "MixingObserver",
    "NormObserver",
    "Observer",
    "OrthogonalityObserver",
    "PartitionObserver",
    "Places",
    "ReplayObserver",
    "RoutingObserver",
    "StreamObserver",
    "SwigluObserver",
    "TearObserver",
    "TrustObserver",
    "UpdateObserver",
]
