"""Notifiers: who is told of alerts, how each fares, and a message that tries one out."""

from typing import Annotated, Any

from fastapi import APIRouter, Path
from starlette.responses import Response

from foreshock.server.alerts.channel import Channel
from foreshock.server.alerts.trial import try_channel
from foreshock.server.alerts.waiting import count_waiting
from foreshock.server.api.alerts import AlertId, AlertRun
from foreshock.server.api.answer import Answer, CallerDep, CollectorDep
from foreshock.server.errors import UnknownNotifierError

router = APIRouter(tags=["notifiers"])

NotifierName = Annotated[str, Path(max_length=64, examples=["log"])]


@router.get("/notifiers", response_class=Answer)
def read_notifiers(collector: CollectorDep) -> Answer:
    """Every notifier with what it wants, what waits for it, and how it has fared since the start."""
    waiting = count_waiting(collector.engine)
    return Answer({"notifiers": [_describe(one, waiting) for one in collector.outbox.channels.values()]})


@router.post("/notifiers/{name}/test", response_class=Answer)
def test_notifier(name: NotifierName, collector: CollectorDep) -> Answer:
    """Sends a test message and says whether it was taken, in how long, and if not why."""
    channels = collector.outbox.channels
    if name not in channels:
        raise UnknownNotifierError(f"no notifier is called {name!r}; there are {', '.join(channels)}")
    return Answer(try_channel(channels[name], collector.settings.address))


@router.get(
    "/alerts/{run_id:path}/{alert_id}/snapshot.png",
    response_class=Response,
    responses={200: {"content": {"image/png": {}}, "description": "The picture."}},
)
def read_snapshot(
    run_id: AlertRun, alert_id: AlertId, collector: CollectorDep, caller: CallerDep
) -> Response:
    """Every signal of the run around the step at which the alert fired, as a picture."""
    picture = collector.snapshots.draw(run_id, alert_id, caller.project)
    return Response(picture, media_type="image/png", headers={"Cache-Control": "private, max-age=60"})


def _describe(channel: Channel, waiting: dict[str, tuple[int, int]]) -> dict[str, Any]:
    num_waiting, num_given_up = waiting.get(channel.name, (0, 0))
    return {**channel.describe(), "waiting": num_waiting, "given_up": num_given_up}
