"""A place without a value is not a NaN that was measured."""

import numpy as np

from foreshock.wire import MISSING, batch_values, decode_record, encode_record, is_missing, make_batch


def test_only_our_own_nan_means_missing() -> None:
    values = np.array([np.nan, -np.nan, np.inf, 0.0, MISSING[0]], np.float32)
    values[4:] = MISSING
    assert is_missing(values).tolist() == [False, False, False, False, True]


def test_missing_survives_the_wire() -> None:
    values = np.zeros((2, 3), np.float32)
    values[1, 1:2] = MISSING
    values[0, 0] = np.nan
    record = decode_record(encode_record(make_batch(0, 0, np.arange(2), np.zeros(2), values)))
    assert is_missing(batch_values(record)).tolist() == [[False] * 2, [False, True], [False] * 2]  # type: ignore[arg-type]
