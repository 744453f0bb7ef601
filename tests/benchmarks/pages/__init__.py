"""The pages in a real browser, on a run of 100 million points; TensorBoard's and trackio's beside them."""

from tests.benchmarks.pages.measure import measure as measure
from tests.benchmarks.pages.measure import page as page
