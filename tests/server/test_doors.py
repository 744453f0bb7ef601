"""Every route of the collector, asked with every kind of token and with none."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import sqlalchemy as sa
from starlette.routing import Mount, Route
from starlette.testclient import TestClient
from tests.server.conftest import Problem, Writer

from foreshock.server.alerts.life import Transition
from foreshock.server.api import needs, pages, reports
from foreshock.server.app import create_app
from foreshock.server.settings import Settings
from foreshock.server.store.alerts import write_transitions
from foreshock.server.store.schema import runs, tokens
from foreshock.server.store.silences import NewSilence, create_silence
from foreshock.server.store.tokens import NewToken, create_token, revoke_token
from foreshock.wire import CONTENT_TYPE

ROOT: Final = "the root token"
# Of the third there is nothing
MINE, OTHER, NONE = "mine", "other", "nobdy"

# What each route needs, said a second time and by hand. In `asked` the path as a test asks for it;
# {run} becomes a run of the project named.
INGEST, READ, READ_ALL, ADMIN = "ingest", "read", "read of all projects", "admin"
ADMIN_ALL = "admin of all projects"
ASKED: Final[dict[tuple[str, str], tuple[str | None, str]]] = {
    ("GET", "/healthz"): (None, "/healthz"),
    ("GET", "/readyz"): (None, "/readyz"),
    ("GET", "/login"): (None, "/login"),
    ("GET", "/static/plotly.min.js"): (None, "/static/plotly.min.js"),
    ("POST", "/login"): (None, "/login"),
    ("POST", "/api/v1/runs"): (INGEST, "/api/v1/runs"),
    ("POST", "/api/v1/runs/{run_id}/append"): (INGEST, "/api/v1/runs/{run}/append"),
    ("GET", "/api/v1/runs"): (READ, "/api/v1/runs?project={project}"),
    ("GET", "/api/v1/runs/{run_id}"): (READ, "/api/v1/runs/{run}"),
    ("DELETE", "/api/v1/runs/{run_id}"): (ADMIN, "/api/v1/runs/{run}"),
    ("POST", "/api/v1/runs/{run_id}/pin"): (ADMIN, "/api/v1/runs/{run}/pin"),
    ("POST", "/api/v1/runs/{run_id}/unpin"): (ADMIN, "/api/v1/runs/{run}/unpin"),
    ("GET", "/api/v1/projects"): (READ, "/api/v1/projects"),
    ("PUT", "/api/v1/projects/{project}"): (ADMIN, "/api/v1/projects/{project}"),
    ("GET", "/api/v1/runs/{run_id}/series"): (READ, "/api/v1/runs/{run}/series?column=loss"),
    ("GET", "/api/v1/runs/{run_id}/map"): (READ, "/api/v1/runs/{run}/map?series=layer_amax_forward_max"),
    ("GET", "/api/v1/series"): (READ, "/api/v1/series?run={run}&column=loss"),
    ("GET", "/api/v1/runs/{run_id}/quantiles"): (READ, "/api/v1/runs/{run}/quantiles?series=layer_map"),
    ("GET", "/api/v1/runs/{run_id}/frames"): (READ, "/api/v1/runs/{run}/frames"),
    ("GET", "/api/v1/runs/{run_id}/health"): (READ, "/api/v1/runs/{run}/health"),
    ("GET", "/api/v1/runs/{run_id}/latest"): (READ, "/api/v1/runs/{run}/latest"),
    ("GET", "/api/v1/runs/{run_id}/events"): (READ, "/api/v1/runs/{run}/events"),
    ("GET", "/api/v1/runs/{run_id}/risk"): (READ, "/api/v1/runs/{run}/risk"),
    ("GET", "/api/v1/runs/{run_id}/departures"): (READ, "/api/v1/runs/{run}/departures"),
    ("GET", "/api/v1/runs/{run_id}/alerts"): (READ, "/api/v1/runs/{run}/alerts"),
    ("GET", "/api/v1/runs/{run_id}/figures"): (READ, "/api/v1/runs/{run}/figures"),
    ("GET", "/api/v1/runs/{run_id}/figures/{figure}"): (READ, "/api/v1/runs/{run}/figures/loss"),
    ("GET", "/api/v1/sparks"): (READ, "/api/v1/sparks?run={run}"),
    ("GET", "/api/v1/runs/{run_id}/layers/{layer}/figures"): (READ, "/api/v1/runs/{run}/layers/0/figures"),
    ("GET", "/api/v1/runs/{run_id}/layers/{layer}/figures/{figure}"): (
        READ,
        "/api/v1/runs/{run}/layers/0/figures/gains",
    ),
    ("GET", "/api/v1/runs/{run_id}/notes"): (READ, "/api/v1/runs/{run}/notes"),
    ("POST", "/api/v1/runs/{run_id}/notes"): (READ, "/api/v1/runs/{run}/notes"),
    ("GET", "/api/v1/alerts"): (READ, "/api/v1/alerts?project={project}"),
    ("GET", "/api/v1/alerts/{run_id}/{alert_id}"): (READ, "/api/v1/alerts/{run}/1"),
    ("POST", "/api/v1/alerts/{run_id}/{alert_id}/acknowledge"): (
        READ,
        "/api/v1/alerts/{run}/1/acknowledge",
    ),
    ("GET", "/api/v1/silences"): (READ, "/api/v1/silences"),
    ("POST", "/api/v1/silences"): (ADMIN, "/api/v1/silences"),
    ("DELETE", "/api/v1/silences/{silence_id}"): (ADMIN, "/api/v1/silences/{silence}"),
    ("GET", "/api/v1/alerts/{run_id}/{alert_id}/snapshot.png"): (
        READ,
        "/api/v1/alerts/{run}/1/snapshot.png",
    ),
    ("GET", "/api/v1/notifiers"): (READ_ALL, "/api/v1/notifiers"),
    ("POST", "/api/v1/notifiers/{name}/test"): (ADMIN_ALL, "/api/v1/notifiers/log/test"),
    ("GET", "/api/v1/compare"): (READ, "/api/v1/compare?project={project}&column=loss"),
    ("GET", "/api/v1/compare/figures/{figure}"): (
        READ,
        "/api/v1/compare/figures/timelines?project={project}",
    ),
    ("GET", "/api/v1/verdict"): (READ, "/api/v1/verdict?project={project}"),
    ("GET", "/api/v1/benchmark"): (READ, "/api/v1/benchmark"),
    ("GET", "/api/v1/benchmark/figures/{figure}"): (READ, "/api/v1/benchmark/figures/lead"),
    ("GET", "/api/v1/events"): (READ, "/api/v1/events"),
    ("GET", "/api/v1/about"): (READ, "/api/v1/about"),
    ("GET", "/api/v1/openapi.json"): (READ, "/api/v1/openapi.json"),
    ("GET", "/api/v1/tokens"): (ADMIN, "/api/v1/tokens"),
    ("POST", "/api/v1/tokens"): (ADMIN, "/api/v1/tokens"),
    ("DELETE", "/api/v1/tokens/{token_id}"): (ADMIN, "/api/v1/tokens/{token}"),
    ("GET", "/metrics"): (READ_ALL, "/metrics"),
    ("GET", "/api/v1/rules"): (READ_ALL, "/api/v1/rules"),
    ("GET", "/"): (READ, "/"),
    ("GET", "/runs/{run_id}"): (READ, "/runs/{run}"),
    ("GET", "/runs/{run_id}/layers/{layer}"): (READ, "/runs/{run}/layers/0"),
    ("GET", "/runs/{run_id}/report"): (READ, "/runs/{run}/report"),
    ("GET", "/compare/report"): (READ, "/compare/report?run={run}"),
    ("GET", "/compare"): (READ, "/compare"),
    ("GET", "/verdict"): (READ, "/verdict"),
    ("GET", "/alerts"): (READ, "/alerts"),
    ("GET", "/settings"): (READ, "/settings"),
    ("GET", "/benchmark"): (READ, "/benchmark"),
}
GUARDED: Final = [route for route, (need, _) in ASKED.items() if need is not None]
# Routes whose answer does not depend on a project: pages fetch what they show, these tell nothing of runs.
OF_NO_PROJECT: Final = {
    "/api/v1/events",
    "/api/v1/openapi.json",
    "/",
    "/runs/{run_id}",
    "/runs/{run_id}/layers/{layer}",
    "/compare",
    "/verdict",
    "/alerts",
    "/settings",
    "/benchmark",
    # Ships with the package
    "/api/v1/benchmark",
    "/api/v1/benchmark/figures/{figure}",
    # Is told of the caller's own project alone, whichever is asked for
    "/api/v1/about",
}


class Doors:
    """A collector that asks for tokens, with a run and an alert in two projects, and one token a kind."""

    def __init__(self, http: TestClient) -> None:
        self.http = http
        self.engine: sa.Engine = http.app.state.collector.engine  # type: ignore[attr-defined]
        self.bodies = {project: self._start(project) for project in (MINE, OTHER)}
        self.secrets: dict[str, str] = {"root": ROOT, "wrong": "fsk_" + "x" * 43}
        for scope in ("ingest", "read", "admin"):
            self.secrets[scope] = self.make(scopes=[scope])
            self.secrets[f"{scope} of {MINE}"] = self.make(scopes=[scope], project=MINE)
        self.secrets["expired"] = self.make(scopes=["admin"], expires_in_seconds=1000)
        self.secrets["revoked"] = self.make(scopes=["admin"])
        with self.engine.begin() as connection:
            old = sa.update(tokens).where(tokens.c.expires_at.is_not(None))
            connection.execute(old.values(expires_at=time.time() - 1))
        revoke_token(self.engine, self.last_id)
        self.victims = {
            project: create_token(self.engine, NewToken(name="v", scopes=["read"], project=project))[0]
            for project in (MINE, OTHER)
        }
        self.victims[NONE] = self.victims[OTHER]
        self.silences = {
            project: create_silence(self.engine, NewSilence.model_validate(silence(project))).silence_id
            for project in (MINE, OTHER)
        }
        self.silences[NONE] = self.silences[OTHER]
        self.bodies[NONE] = self.bodies[OTHER].replace(OTHER.encode(), NONE.encode())
        http.app.state.collector.callers.forget()  # type: ignore[attr-defined]
        http.app.state.collector.keeper.stop()  # type: ignore[attr-defined]

    def make(self, **said: Any) -> str:
        token, secret = create_token(self.engine, NewToken(name="a token", **said))
        self.last_id = token.token_id
        return secret

    def _start(self, project: str) -> bytes:
        """A run with a step and an alert; the body of an append that may follow."""
        self.http.headers["Authorization"] = f"Bearer {ROOT}"
        writer = Writer(self.http, f"run-of-{project}")
        writer.start("loss", project=project)
        assert writer.send(writer.batch([0], [1.0])).status_code == 200
        self.http.headers.pop("Authorization")
        fired = Transition("nonfinite", "step", "event", "critical", "firing", 0, 0, 1.0, None, "why", "do")
        with self.engine.begin() as connection:
            write_transitions(connection, writer.run_id, project, 0, [fired], ["log"])
        return writer.body()

    def ask(self, route: tuple[str, str], kind: str | None, project: str = MINE) -> Any:
        method, template = route
        path = ASKED[route][1].format(
            run=f"run-of-{project}",
            project=project,
            token=self.victims[project].token_id,
            silence=self.silences[project],
        )
        headers = {} if kind is None else bearer(self.secrets[kind])
        if template.endswith("/append"):
            headers["Content-Type"] = CONTENT_TYPE
            return self.http.post(path, content=self.bodies[project], headers=headers)
        if template == "/api/v1/events":
            return self._ask_events(path, headers)
        answer = self.http.request(method, path, json=self._json(template, project), headers=headers)
        if method == "DELETE":
            self._bring_back()
        return answer

    def _bring_back(self) -> None:
        """Deleted runs are there for the next question; the keeper sleeps meanwhile."""
        with self.engine.begin() as connection:
            connection.execute(sa.update(runs).values(deleted_at=None))

    def _ask_events(self, path: str, headers: dict[str, str]) -> Any:
        """This client waits for a stream's end, which comes at once where the bell is closed."""
        bell = self.http.app.state.collector.bell  # type: ignore[attr-defined]
        bell._closed = True
        try:
            return self.http.get(path, headers=headers)
        finally:
            bell._closed = False

    def _json(self, template: str, project: str) -> dict[str, Any] | None:
        return {
            "/api/v1/runs": {"run_id": f"new-of-{project}", "project": project, "name": "n"},
            "/api/v1/tokens": {"name": "made", "scopes": ["read"], "project": project},
            "/api/v1/alerts/{run_id}/{alert_id}/acknowledge": {"author": "mira"},
            "/api/v1/runs/{run_id}/notes": {"step": 0, "author": "mira", "text": "seen"},
            "/api/v1/silences": silence(project),
            "/api/v1/projects/{project}": {"keep_days": None},
        }.get(template)


def silence(project: str) -> dict[str, Any]:
    matchers = [{"name": "rule", "value": "nothing of the kind"}]
    return {
        "matchers": matchers,
        "author": "mira",
        "comment": "why",
        "project": project,
        "duration_seconds": 9,
    }


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    path: Path = tmp_path_factory.mktemp("doors") / "a.db"
    app = create_app(Settings(db=str(path), host="0.0.0.0", token=ROOT))
    with TestClient(app, base_url="http://box", follow_redirects=False) as http:
        yield Doors(http)


def test_every_route_has_a_decision(doors: Doors) -> None:
    app = doors.http.app
    document = app.openapi()  # type: ignore[attr-defined]
    told = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    hidden = {
        (method, route.path)
        for route in (*pages.router.routes, *reports.router.routes)
        if isinstance(route, Route)
        for method in route.methods or ()
    }
    plain = {
        ("GET", route.path)
        for route in app.routes  # type: ignore[attr-defined]
        if type(route) is Route
    }
    mounts = [route.path for route in app.routes if isinstance(route, Mount)]  # type: ignore[attr-defined]
    assert told | hidden | plain == set(ASKED)
    assert mounts == ["/static"]


def test_the_document_says_what_each_route_needs(doors: Doors) -> None:
    document = doors.http.get("/api/v1/openapi.json", headers=bearer(ROOT)).json()
    for path, item in document["paths"].items():
        for method, operation in item.items():
            need = ASKED[(method.upper(), path)][0]
            assert operation["x-scope"] == (None if need is None else need.split()[0])
            assert operation["security"] == ([] if need is None else [{"token": []}])
    assert document["components"]["securitySchemes"]["token"]["scheme"] == "bearer"


def test_the_table_has_a_line_for_every_route_and_none_besides() -> None:
    concrete = {
        (method, asked.split("?")[0].format(run="r", token="t", project="p", silence="s"))
        for (method, _), (_, asked) in ASKED.items()
    }
    for method, pattern, need in needs._PATTERNS:
        hits = [path for verb, path in concrete if verb == method and pattern.fullmatch(path)]
        assert hits, f"no route is meant by {method} {pattern.pattern}"
        assert all(needs.need_of(method, path).scope == need.scope for path in hits)
    for method, path in concrete:
        assert any(verb == method and pattern.fullmatch(path) for verb, pattern, _ in needs._PATTERNS), path


@pytest.mark.parametrize("route", GUARDED, ids=" ".join)
@pytest.mark.parametrize("kind", [None, "wrong", "expired", "revoked"])
def test_nobody_unknown_gets_in(
    doors: Doors, problem: Problem, route: tuple[str, str], kind: str | None
) -> None:
    answer = doors.ask(route, kind)
    told = problem(answer, 401, "unauthorized")
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert ("wrong, expired or revoked" in told["detail"]) == (kind is not None)


@pytest.mark.parametrize("route", GUARDED, ids=" ".join)
@pytest.mark.parametrize("kind", ["ingest", "read", "admin", "root"])
def test_a_scope_opens_what_it_says_and_nothing_else(
    doors: Doors, problem: Problem, route: tuple[str, str], kind: str
) -> None:
    need = str(ASKED[route][0]).split()[0]
    answer = doors.ask(route, kind)
    if kind in (need, "admin", "root"):
        assert answer.status_code in (200, 201, 404 if route[1].endswith(("/map", "/quantiles")) else 200), (
            answer.text
        )
    else:
        assert f"needs the scope {need}" in problem(answer, 403, "forbidden")["detail"]


@pytest.mark.parametrize("route", GUARDED, ids=" ".join)
def test_a_token_of_one_project_works_there(doors: Doors, problem: Problem, route: tuple[str, str]) -> None:
    need = str(ASKED[route][0])
    answer = doors.ask(route, f"{need.split()[0]} of {MINE}")
    if need in (READ_ALL, ADMIN_ALL):
        problem(answer, 403, "forbidden")
    else:
        assert answer.status_code in (200, 201, 404 if route[1].endswith(("/map", "/quantiles")) else 200), (
            answer.text
        )


@pytest.mark.parametrize("route", [route for route in GUARDED if route[1] not in OF_NO_PROJECT], ids=" ".join)
def test_a_token_of_one_project_opens_nothing_of_another(doors: Doors, route: tuple[str, str]) -> None:
    need, asked = ASKED[route]
    answer = doors.ask(route, f"{str(need).split()[0]} of {MINE}", project=OTHER)
    if route[0] == "GET" and route[1] in ("/api/v1/tokens", "/api/v1/projects", "/api/v1/silences"):
        (listed,) = answer.json().values()
        assert {one["project"] for one in listed} == {MINE}
        return
    names_something = any(name in asked for name in ("{run}", "{token}", "{silence}"))
    assert answer.status_code == (404 if names_something else 403), answer.text


@pytest.mark.parametrize(
    "route", [route for route in GUARDED if "{run}" in ASKED[route][1] and "/api/" in route[1]], ids=" ".join
)
def test_another_projects_run_is_told_from_none_by_nothing(doors: Doors, route: tuple[str, str]) -> None:
    kind = f"{ASKED[route][0]} of {MINE}"
    there = doors.ask(route, kind, project=OTHER)
    absent = doors.ask(route, kind, project=NONE)
    assert absent.status_code == there.status_code == 404
    assert absent.text == there.text.replace(OTHER, NONE)


def test_lists_show_one_project_only(doors: Doors) -> None:
    mine = bearer(doors.secrets[f"read of {MINE}"])
    runs = doors.http.get("/api/v1/runs", headers=mine).json()
    assert {run["project"] for run in runs["runs"]} == {MINE} and runs["total"] == len(runs["runs"])
    alerts = doors.http.get("/api/v1/alerts", headers=mine).json()
    assert [alert["run_id"] for alert in alerts["alerts"]] == [f"run-of-{MINE}"] and alerts["total"] == 1
    of_other = doors.http.get(f"/api/v1/alerts?run=run-of-{OTHER}", headers=mine).json()
    assert of_other == {"alerts": [], "total": 0}
    compared = doors.http.get("/api/v1/compare?column=loss&group_by=state", headers=mine).json()
    assert compared["project"] == MINE
    ids = [run["run_id"] for group in compared["groups"] for run in group["runs"]]
    assert f"run-of-{OTHER}" not in ids and f"run-of-{MINE}" in ids


def test_nothing_is_noted_on_another_projects_alert(doors: Doors) -> None:
    route = ("POST", "/api/v1/alerts/{run_id}/{alert_id}/acknowledge")
    assert doors.ask(route, f"read of {MINE}", project=OTHER).status_code == 404
    alert = doors.http.get(f"/api/v1/alerts/run-of-{OTHER}/1", headers=bearer(ROOT)).json()
    before = alert["acknowledged_at"]
    doors.ask(route, f"admin of {MINE}", project=OTHER)
    after = doors.http.get(f"/api/v1/alerts/run-of-{OTHER}/1", headers=bearer(ROOT)).json()
    assert after["acknowledged_at"] == before


def test_a_run_cannot_be_taken_from_another_project(doors: Doors, problem: Problem) -> None:
    said = {"run_id": f"run-of-{OTHER}", "project": MINE, "name": "n"}
    answer = doors.http.post("/api/v1/runs", json=said, headers=bearer(doors.secrets[f"ingest of {MINE}"]))
    problem(answer, 409, "run-taken")
    run = doors.http.get(f"/api/v1/runs/run-of-{OTHER}", headers=bearer(ROOT)).json()
    assert run["project"] == OTHER


@pytest.mark.parametrize(
    "path",
    ["/api/v1/nothing", "/api/v1//tokens", "/api/v1/tokens/", "/API/V1/tokens", "/api/v1/runs/../tokens"],
)
@pytest.mark.parametrize("kind", ["ingest", "read", f"read of {MINE}"])
def test_an_address_that_is_spelt_otherwise_opens_no_more(doors: Doors, path: str, kind: str) -> None:
    answer = doors.http.get(path, headers=bearer(doors.secrets[kind]))
    assert answer.status_code in (307, 403, 404) and "token_id" not in answer.text


@pytest.mark.parametrize("name", ["token", "access_token", "authorization", "bearer"])
def test_a_token_in_an_address_opens_nothing(doors: Doors, name: str) -> None:
    assert doors.http.get(f"/api/v1/runs?{name}={ROOT}").status_code == 401
    assert doors.http.get("/api/v1/runs", headers={"Host": f"{ROOT.split()[0]}@box"}).status_code == 401


@pytest.mark.parametrize("given", ["Basic", "", "Token", "bearer\tx"])
def test_a_token_under_another_scheme_opens_nothing(doors: Doors, given: str) -> None:
    headers = {"Authorization": f"{given} {doors.secrets['admin']}"}
    assert doors.http.get("/api/v1/runs", headers=headers).status_code == 401
