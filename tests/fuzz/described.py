"""Requests made from the collector's own OpenAPI document by schemathesis: as it says, and against it."""

from collections.abc import Iterator
from typing import Any, Final

import schemathesis
from hypothesis import strategies as st
from schemathesis import GenerationMode
from tests.fuzz.target import SEEDED_RUN, Session

# Without these most generated requests would get no further than the first check
_KNOWN: Final[dict[str, list[Any]]] = {
    "run_id": [SEEDED_RUN, "fuzz-0", "fuzz-100"],
    "figure": ["loss", "gain_map", "seeds", "timelines"],
    "alert_id": [1],
    "column": ["loss", "x[0]", "layer_amax_forward_max[3]", "layer_amax_forward_max"],
    "series": ["layer_amax_forward_max", "x"],
    "project": ["demo", "fuzz"],
    "name": ["a"],
}
_VALUES: Final = st.text(
    st.characters(min_codepoint=32, max_codepoint=255, exclude_categories=["Cc"]), max_size=40
)
_HEADERS: Final = st.dictionaries(
    st.sampled_from(
        [
            "Accept",
            "Accept-Encoding",
            "Authorization",
            "Cookie",
            "If-None-Match",
            "Origin",
            "Content-Type",
            "Sec-Fetch-Site",
        ]
    ),
    st.one_of(
        _VALUES,
        st.sampled_from(
            [
                "text/html",
                "application/openmetrics-text; version=1.0.0",
                "gzip",
                "same-origin",
                "foreshock_session=a.b",
            ]
        ),
        st.builds("application/openmetrics-text; version={}; escaping={}".format, _VALUES, _VALUES),
    ),
    max_size=2,
)
_QUERY: Final = st.dictionaries(
    st.sampled_from(["project", "q", "column", "start", "stop", "buckets", "run", "token", "group_by"]),
    st.one_of(
        st.text(max_size=30), st.integers().map(str), st.sampled_from(["\0", "a[0]", "loss", "9" * 5000])
    ),
    max_size=2,
)


# JSON as no serializer writes it
_ODD_JSON: Final = st.one_of(
    st.integers(1, 5000).map(lambda depth: "[" * depth + "]" * depth),
    st.integers(1, 2000).map(lambda depth: '{"a":' * depth + "1" + "}" * depth),
    st.integers(1, 6000).map(lambda digits: "9" * digits),
    st.sampled_from(
        ["NaN", "-Infinity", "1e999", '"\\ud800"', '"\\u0000"', "null", "{}", "true", '"a"', "-0"]
    ),
)
_FIELDS: Final = (
    "config",
    "run_id",
    "project",
    "name",
    "tags",
    "seed",
    "session",
    "scopes",
    "author",
    "note",
)
_bodies: Final = st.builds(
    '{{"run_id": "odd", "project": "p", "name": "n", "scopes": ["read"], "author": "a", "{}": {}}}'.format,
    st.sampled_from(_FIELDS),
    _ODD_JSON,
).map(str.encode)


def doors(session: Session) -> Iterator[tuple[str, st.SearchStrategy[dict[str, Any]]]]:
    """Each operation of the document with a strategy of what `Session.request` takes."""
    document = session.get("/api/v1/openapi.json").json()
    # It would make up tokens, which get no further than the guard
    del document["components"]["securitySchemes"]
    for item in document["paths"].values():
        for operation in item.values():
            del operation["security"]
    schema = schemathesis.openapi.from_dict(document)
    for result in schema.get_all_operations():
        operation = result.ok()
        if operation.path.endswith("/append"):
            continue
        modes = [GenerationMode.POSITIVE]
        if "parameters" in operation.definition.raw or "requestBody" in operation.definition.raw:
            modes.append(GenerationMode.NEGATIVE)
        cases = st.one_of(*(operation.as_strategy(generation_mode=mode) for mode in modes))
        yield f"{operation.method.upper()} {operation.path}", _requests(cases, session.url)


@st.composite
def _requests(draw: st.DrawFn, cases: st.SearchStrategy[Any], url: str) -> dict[str, Any]:
    case = draw(cases)
    if isinstance(case.body, dict) and "run_id" in case.body and draw(st.booleans()):
        # Not the seeded run's, whose next attempt would have nothing to be read
        case.body["run_id"] = draw(st.sampled_from(["odd", "fuzz-0"]))
    for part in (case.path_parameters, case.query):
        for name in sorted(_KNOWN.keys() & (part if isinstance(part, dict) else {})):
            if draw(st.integers(0, 3)) < 3:
                part[name] = draw(st.sampled_from(_KNOWN[name]))
    said: dict[str, Any] = case.as_transport_kwargs(base_url=url)
    if draw(st.integers(0, 2)) == 2:
        said["headers"] = {**said.get("headers", {}), **draw(_HEADERS)}
    if draw(st.integers(0, 3)) == 3:
        said["params"] = [*_pairs(said.get("params")), *draw(_QUERY).items()]
    if "json" in said and draw(st.integers(0, 5)) == 5:
        del said["json"]
        said["data"] = draw(_bodies)
        said["headers"] = {**said.get("headers", {}), "Content-Type": "application/json"}
    return said


def _pairs(params: Any) -> list[tuple[str, Any]]:
    return list(params.items()) if isinstance(params, dict) else list(params or [])
