"""The process that sends one message through apprise: JSON on stdin, `{"failure": ..}` on stdout.

What it says may hold secrets; its parent takes them out. It imports nothing of the collector's, so that
it starts fast, and ends by itself should its parent be gone.
"""

import base64
import json
import logging
import signal
import sys
from typing import Any, Final

MOST_SECONDS: Final = 120
MAX_LINES: Final = 3


class Kept(logging.Handler):
    """Keeps what apprise writes of a failure: its warnings, and below them what the network said."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps one line."""
        line = record.getMessage()
        if record.levelno >= logging.WARNING or "Exception:" in line:
            self.lines.append(line)


def send(said: dict[str, Any]) -> str:
    """Sends the message; why it was not taken, or nothing where it was."""
    import apprise

    kept = Kept()
    logger = logging.getLogger("apprise")
    logger.addHandler(kept)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    asset = apprise.AppriseAsset(
        app_id="foreshock",
        app_desc="foreshock",
        app_url="",
        storage_mode=apprise.PersistentStoreMode.MEMORY,
        http_redirects=False,
    )
    service = apprise.Apprise.instantiate(said["url"], asset=asset)
    if service is None:
        told = "; ".join(kept.lines[-MAX_LINES:])
        return f"apprise cannot read this address as one of its services: {told}"
    if "overflow=" not in said["url"]:
        # The beginning says what matters; as it is, a service would refuse what is too long for it
        service.overflow_mode = apprise.OverflowMode.TRUNCATE
    words = {"body": said["body"], "title": said["title"], "notify_type": said["type"]}
    words |= {"body_format": apprise.NotifyFormat.TEXT}
    attached = _attach(said["picture"]) if service.attachment_support else None
    if attached is not None:
        if service.notify(**words, attach=attached):
            return ""
        # A picture that is not taken must not keep the words back
        kept.lines.clear()
    if service.notify(**words):
        return ""
    return "; ".join(kept.lines[-MAX_LINES:]) or "apprise gives no reason"


def _attach(picture: str | None) -> Any:
    import apprise
    from apprise.attachment.memory import AttachMemory

    if picture is None:
        return None
    content = base64.b64decode(picture)
    image = AttachMemory(content, name="snapshot.png", mimetype="image/png")  # type: ignore[no-untyped-call]
    return apprise.AppriseAttachment(image)


def main() -> None:
    """Reads, sends, tells."""
    if hasattr(signal, "alarm"):
        signal.alarm(MOST_SECONDS)
    said = json.load(sys.stdin)
    try:
        failure = send(said)
    except Exception as error:
        failure = f"{type(error).__name__}: {error}"
    json.dump({"failure": failure}, sys.stdout)


if __name__ == "__main__":
    main()
