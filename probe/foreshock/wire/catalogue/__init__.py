"""The catalogue: every signal foreshock knows, once.

Definitions follow "mHC" (arXiv:2512.24880), "HC" (arXiv:2409.19606) and "DeepSeek-V4"
(arXiv:2606.19348). The probe emits columns named here, the collector reduces ranks as said here,
the pages take units and healthy bands from here.
"""

from collections.abc import Mapping
from typing import Final

from foreshock.wire.catalogue.gains import CANARY, COMPOSITE_GAINS, DEGENERACY, LAYER_GAINS
from foreshock.wire.catalogue.host import HOST
from foreshock.wire.catalogue.routing import ROUTING
from foreshock.wire.catalogue.stream import STREAM
from foreshock.wire.catalogue.training import TRAINING
from foreshock.wire.signal import Signal

CATALOGUE: Final[Mapping[str, Signal]] = {
    signal.name: signal
    for family in (TRAINING, LAYER_GAINS, COMPOSITE_GAINS, DEGENERACY, STREAM, CANARY, ROUTING, HOST)
    for signal in family
}
