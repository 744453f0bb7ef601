"""The browser puts a patch in as Python does."""

import json
import random
from typing import Any

import pytest

from foreshock.dashboards.figures.patch import apply, diff

pytestmark = pytest.mark.browser

APPLY = """async ([address, pairs]) => {
    const { apply } = await import(address);
    return pairs.map(([old, patch]) => {
        const before = JSON.stringify(old);
        const newer = apply(old, patch);
        return [newer, JSON.stringify(old) === before];
    });
}"""


def some_value(draw: random.Random, depth: int = 0) -> Any:
    """Objects, lists and what they hold."""
    kind = draw.random()
    if depth < 4 and kind < 0.35:
        return [some_value(draw, depth + 1) for _ in range(draw.randrange(6))]
    if depth < 4 and kind < 0.65:
        return {name: some_value(draw, depth + 1) for name in "xyz" if draw.random() < 0.7}
    return draw.choice([None, True, False, 0, 1, 2.5, -1e-300, "", "a", 1.7976931348623157e308])


def test_the_browser_applies_patches_as_python_does(visit: Any) -> None:
    draw = random.Random(7)
    pairs = [(some_value(draw), some_value(draw)) for _ in range(600)]
    pairs += [({"a": old}, {"a": [*old[:-1], 5, 6, *old[-1:]]}) for old in ([], [1], [1, 2, 3])]
    patches = [json.loads(json.dumps(diff(old, new))) for old, new in pairs]
    page = visit.open("/login")
    told = page.evaluate(
        APPLY, ["/static/patch.js", [[old, patch] for (old, _), patch in zip(pairs, patches, strict=True)]]
    )
    for (old, new), patch, (newer, untouched) in zip(pairs, patches, told, strict=True):
        assert untouched
        assert newer == new == apply(old, patch)


def test_a_live_figure_travels_as_what_changed_and_is_drawn_as_if_it_came_whole(
    visit: Any, observatory: Any
) -> None:
    trainer = observatory.trainer("patched", "mhc", 11).train(60)
    answers: list[tuple[str, int]] = []
    visit.page.on("response", lambda answer: answers.append((answer.url, answer.status)))
    page = visit.open("/runs/patched")
    shown = "() => document.querySelector('[data-figure=loss] .js-plotly-plot')"
    for last in (59, 66, 73):
        page.wait_for_function(f"() => ({shown})()?.layout.xaxis.range[1] >= {last}")
        trainer.train(7)
    page.wait_for_function(f"() => ({shown})().layout.xaxis.range[1] >= 80")
    of_loss = [(url, status) for url, status in answers if "/figures/loss" in url]
    statuses = [status for _, status in of_loss]
    assert statuses[0] == 200 and 226 in statuses
    assert set(statuses[1:]) <= {226, 304}
    whole = observatory.http.get(of_loss[0][0]).json()
    drawn = page.evaluate(f"() => ({shown})().data.map((trace) => [trace.x, trace.y])")
    assert drawn == [[trace["x"], trace["y"]] for trace in whole["data"]]
    assert visit.complaints == []
