"""The pages and their files, as a browser gets them."""

import gzip

import pytest
from starlette.testclient import TestClient
from tests.server.conftest import Writer

from foreshock.dashboards.pages.files import version


@pytest.mark.parametrize("path", ["/", "/runs/any", "/compare", "/verdict", "/alerts", "/login"])
def test_pages_come_with_a_policy_that_allows_no_outside_host(http: TestClient, path: str) -> None:
    page = http.get(path)
    assert page.status_code == 200 and page.headers["content-type"].startswith("text/html")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "script-src 'self';" in policy and "http" not in policy


def test_an_unknown_address_is_a_page_for_people_and_a_problem_for_programs(http: TestClient) -> None:
    browser = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    page = http.get("/nope", headers=browser)
    assert page.status_code == 404 and page.headers["content-type"].startswith("text/html")
    assert "There is no page at this address" in page.text and 'href="/"' in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    for path, headers in (
        ("/nope", {"Accept": "*/*"}),
        ("/api/v1/nope", browser),
        ("/static/nope.js", browser),
    ):
        problem = http.get(path, headers=headers)
        assert problem.status_code == 404
        assert problem.headers["content-type"] == "application/problem+json"
    assert http.post("/", headers=browser).status_code == 405


def test_plotly_is_compressed_once_and_cached(http: TestClient) -> None:
    packed = http.get("/static/plotly.min.js", headers={"Accept-Encoding": "gzip"})
    plain = http.get("/static/plotly.min.js", headers={"Accept-Encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip" and "content-encoding" not in plain.headers
    assert packed.content == plain.content and len(gzip.compress(plain.content, 1)) < len(plain.content) / 2
    assert "immutable" in http.get("/static/plotly.min.js?v=4").headers["cache-control"]
    known = {"If-None-Match": packed.headers["etag"], "Accept-Encoding": "gzip"}
    assert http.get("/static/plotly.min.js", headers=known).status_code == 304


def test_files_are_kept_for_good_under_their_own_version_only(http: TestClient) -> None:
    own = http.get(f"/static/{version()}/run.js")
    assert own.status_code == 200 and "immutable" in own.headers["cache-control"]
    for address in ("/static/run.js", "/static/v-000000000000/run.js"):
        other = http.get(address)
        assert other.content == own.content and other.headers["cache-control"] == "no-cache"
    assert http.get(f"/static/{version()}/nope.js").status_code == 404
    assert http.get(f"/static/{version()}/%2e%2e/%2e%2e/__init__.py").status_code == 404


def test_static_files_stay_inside_their_folder(http: TestClient) -> None:
    assert http.get("/static/style.css").status_code == 200
    assert http.get("/static/../__init__.py").status_code == 404
    assert http.get("/static/%2e%2e/__init__.py").status_code == 404


def test_large_answers_are_compressed_for_those_who_take_it(http: TestClient, writer: Writer) -> None:
    writer.start()
    writer.send(writer.batch(range(2000), range(2000)))
    path = "/api/v1/runs/run-1/series?column=loss&buckets=5000"
    packed = http.get(path, headers={"Accept-Encoding": "gzip"})
    plain = http.get(path, headers={"Accept-Encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip" and "content-encoding" not in plain.headers
    assert packed.json() == plain.json()


def test_the_interface_is_described_with_examples(http: TestClient) -> None:
    described = http.get("/api/v1/openapi.json").json()
    assert "NaN" in described["info"]["description"]
    append = described["paths"]["/api/v1/runs/{run_id}/append"]["post"]
    assert "application/vnd.foreshock.append" in append["requestBody"]["content"]
    assert append["responses"]["200"]["content"]["application/json"]["example"]
    assert described["components"]["schemas"]["Declaration"]["examples"]
