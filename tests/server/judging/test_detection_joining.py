"""Streams and ranks joined into a block."""

import numpy as np
import pytest

from foreshock.server.detection.joining import RankFrames, merge
from foreshock.wire import MISSING


def frames(rank, columns, steps, values):
    array = np.array(values, np.float32).reshape(len(columns), len(steps))
    return RankFrames(rank, columns, np.array(steps), np.array(steps, float), array)


def test_streams_of_different_cadence_join_by_step():
    block = merge(
        [
            frames(0, ("loss", "grad_norm"), [1, 2, 3], [[3, 2, 1], [5, 6, 7]]),
            frames(0, ("composite_amax_forward_mean[0]",), [2], [[9]]),
        ]
    )
    samples = list(block.samples())
    assert [one.step for one in samples] == [1, 2, 3]
    assert samples[1].layers("composite_amax_forward_mean").tolist() == [9]
    assert samples[2].layers("composite_amax_forward_mean").tolist() == []
    assert samples[2].scalar("loss") == 1


def test_ranks_reduce_as_the_catalogue_says():
    one = frames(0, ("loss", "clip_coefficient", "grad_norm", "my/series"), [7], [[1], [0.5], [2], [4]])
    two = frames(1, ("loss", "clip_coefficient", "grad_norm", "my/series"), [7], [[3], [0.25], [1], [8]])
    (sample,) = merge([one, two]).samples()
    found = [sample.scalar(name) for name in ("loss", "clip_coefficient", "grad_norm", "my/series")]
    assert found == [2.0, 0.25, 2.0, 6.0]


def test_a_nan_of_one_rank_stays_and_a_missing_rank_is_left_out():
    one = frames(0, ("loss", "grad_norm"), [1, 2], [[1, 5], [1, np.nan]])
    two = frames(1, ("loss", "grad_norm"), [2], [[7], [3]])
    first, second = merge([one, two]).samples()
    assert first.scalar("loss") == 1 and second.scalar("loss") == 6
    assert np.isnan(second.scalar("grad_norm"))
    assert second.present[second.columns.place["grad_norm"]]


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_ranks_reduce_the_same_however_steps_are_cut(cut):
    rng = np.random.default_rng(cut)
    values = rng.standard_normal((3, 2, 4)).astype(np.float32)
    names = ("loss", "headroom_bits")

    def part(keep):
        steps = np.arange(4)[keep]
        return [frames(rank, names, steps, values[rank][:, keep]) for rank in range(3)]

    whole = merge(part(slice(0, 4)))
    pieces = [merge(part(slice(0, cut))), merge(part(slice(cut, 4)))]
    assert np.array_equal(whole.values, np.concatenate([piece.values for piece in pieces]))


def test_a_missing_value_is_not_present_and_a_nan_is():
    values = np.array([[1.0, np.nan], [np.nan, 2.0]], np.float32)
    values[1, 0] = MISSING[0]
    step, array = np.array([4, 5]), np.array([4.0, 5.0])
    first, second = merge([RankFrames(0, ("loss", "grad_norm"), step, array, values)]).samples()
    assert first.present.tolist() == [True, False] and second.present.tolist() == [True, True]
    assert np.isnan(second.scalar("loss")) and second.scalar("grad_norm") == 2


def test_nothing_gives_nothing():
    assert len(merge([])) == 0


def test_a_time_that_is_nan_is_no_time():
    steps, values = np.array([0, 1]), np.ones((1, 2), np.float32)
    first, second = merge([RankFrames(0, ("loss",), steps, np.array([np.nan, 7.0]), values)]).samples()
    assert (first.time, second.time) == (0.0, 7.0)
