"""The cache of drawn figures: bounded, shared, and sure of what a tag stands for."""

import threading

from foreshock.server.figure_cache import FigureCache, Key


def key(mark: str, figure: str = "loss") -> Key:
    return "run-1", figure, "{}", mark


def test_a_figure_is_drawn_once() -> None:
    cache, times = FigureCache(), []
    for _ in range(2):
        assert cache.get(key("1"), lambda: times.append(1) or b"drawn").body == b"drawn"
    assert len(times) == 1


def test_a_tag_is_of_what_a_figure_shows() -> None:
    cache = FigureCache()
    first, same, other = (
        cache.get(key(mark), lambda body=body: body) for mark, body in (("1", b"a"), ("2", b"a"), ("3", b"b"))
    )
    assert first.tag == same.tag != other.tag
    assert cache.get(key("1", "clip"), lambda: b"a").tag != first.tag


def test_a_tag_answers_its_own_question_only() -> None:
    cache = FigureCache()
    drawn = cache.get(key("1"), lambda: b"secret")
    assert cache.tagged(drawn.tag, key("9")[:3]) == b"secret"
    assert cache.tagged(drawn.tag, ("run-2", "loss", "{}")) is None
    assert cache.tagged("nonsense", key("9")[:3]) is None


def test_what_was_used_longest_ago_goes_first() -> None:
    cache = FigureCache(max_bytes=10)
    old = cache.get(key("1"), lambda: b"12345")
    kept = cache.get(key("2"), lambda: b"abcde")
    cache.tagged(old.tag, key("1")[:3])
    cache.get(key("3"), lambda: b"x")
    assert cache.tagged(old.tag, key("1")[:3]) == b"12345"
    assert cache.tagged(kept.tag, key("2")[:3]) is None
    assert cache.get(key("2"), lambda: b"drawn again").body == b"drawn again"


def test_viewers_who_ask_at_once_wait_for_one_drawing() -> None:
    cache, times = FigureCache(), []
    begun, may_end = threading.Event(), threading.Event()

    def draw() -> bytes:
        times.append(1)
        begun.set()
        may_end.wait(10)
        return b"drawn"

    found: list[bytes] = []
    viewers = [
        threading.Thread(target=lambda: found.append(cache.get(key("1"), draw).body)) for _ in range(4)
    ]
    for viewer in viewers:
        viewer.start()
    assert begun.wait(10)
    may_end.set()
    for viewer in viewers:
        viewer.join(10)
    assert found == [b"drawn"] * 4 and len(times) == 1


def test_a_drawing_that_fails_is_tried_again() -> None:
    cache = FigureCache()
    try:
        cache.get(key("1"), lambda: 1 / 0)  # type: ignore[arg-type, return-value]
    except ZeroDivisionError:
        pass
    assert cache.get(key("1"), lambda: b"drawn").body == b"drawn"
