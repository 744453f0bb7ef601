"""The collector put together: database, writer, readers, bell, judge, notifications."""

import asyncio
from dataclasses import dataclass
from importlib.metadata import version
from typing import Final, Self

import sqlalchemy as sa
from prometheus_client import CollectorRegistry, Info

from foreshock.server.alerts.channel import Counters
from foreshock.server.alerts.outbox import Outbox
from foreshock.server.alerts.snapshot import Snapshots
from foreshock.server.alerts.switchboard import make_channels
from foreshock.server.alerts.waiting import WaitingNotifications
from foreshock.server.bell import Bell
from foreshock.server.callers import Callers
from foreshock.server.detection.user_rules.watched import WatchedRules
from foreshock.server.disk import FreeDisk
from foreshock.server.errors import StartError
from foreshock.server.figure_cache import FigureCache
from foreshock.server.judge import Judge, JudgeSettings
from foreshock.server.keeper import Keeper
from foreshock.server.live import LiveRuns
from foreshock.server.metrics import Instruments
from foreshock.server.relay import Relay
from foreshock.server.settings import Settings
from foreshock.server.store.append import AppendLog
from foreshock.server.store.compactor import Compactor
from foreshock.server.store.engine import Database, has_database, open_database
from foreshock.server.store.read import StoredRun
from foreshock.server.store.room import Room
from foreshock.server.store.tokens import has_live_admin
from foreshock.server.store.windows import Windows

MAX_LARGE_BODIES: Final = 2


@dataclass(slots=True)
class Collector:
    """Everything a request may need, one of each."""

    settings: Settings
    database: Database
    bell: Bell
    # Where other collectors may be on the same database
    relay: Relay | None
    callers: Callers
    registry: CollectorRegistry
    instruments: Instruments
    room: Room
    # Each may unpack to 128 MiB while it is checked
    reading_large_bodies: asyncio.Semaphore
    log: AppendLog
    windows: Windows
    figures: FigureCache
    snapshots: Snapshots
    outbox: Outbox
    judge: Judge
    rules: WatchedRules
    compactor: Compactor
    keeper: Keeper

    @classmethod
    def open(cls, settings: Settings, database: Database | None = None) -> Self:
        """Opens what is not open yet; raises StartError where that cannot be."""
        database = database or open_guarded(settings)
        registry = CollectorRegistry()
        instruments = Instruments.create(registry)
        bell = Bell()
        relay = Relay(database.engine, bell) if database.engine.dialect.name == "postgresql" else None
        ring = relay.ring if relay else bell.ring
        log = AppendLog(
            database.engine,
            instruments,
            ring,
            max_bodies=settings.max_waiting_appends,
            grace_seconds=settings.heartbeat_grace_seconds,
        )
        windows = Windows(settings.cache_bytes)
        LiveRuns(database.engine, windows, settings.max_live_runs, registry)
        FreeDisk(database.engine, registry)
        Info("foreshock_collector", "Where people reach it.", registry=registry).info(
            {"address": settings.address, "version": version("foreshock")}
        )
        rules = WatchedRules(settings.rules_file)
        instruments.refused_rules.set_function(lambda: len(rules.problems))
        figures = FigureCache()
        snapshots = Snapshots(database.engine, windows, figures)
        channels = make_channels(settings, snapshots.draw)
        counters = Counters.create(registry)
        for channel in channels:
            channel.note_in(counters)
        outbox = Outbox(database.engine, channels, public_url=settings.address)
        WaitingNotifications(database.engine, outbox.names, registry)
        judge = Judge(database.engine, _judge_settings(settings, outbox), ring, rules=rules)
        instruments.judged_at.set_function(lambda: judge.turned_at)
        compactor = Compactor(database.engine, pause_seconds=settings.compact_interval_seconds)
        return cls(
            settings,
            database,
            bell,
            relay,
            Callers(database.engine, settings),
            registry,
            instruments,
            Room(settings.max_waiting_bytes),
            asyncio.Semaphore(MAX_LARGE_BODIES),
            log,
            windows,
            figures,
            snapshots,
            outbox,
            judge,
            rules,
            compactor,
            Keeper(database.engine, bell.ring, on_delete=judge.note_change),
        )

    @property
    def engine(self) -> sa.Engine:
        """The database's engine."""
        return self.database.engine

    def ring(self, name: str, data: dict[str, object]) -> None:
        """Tells open pages, here and at other collectors, that something is new."""
        (self.relay or self.bell).ring(name, data)

    def run(self, run_id: str) -> StoredRun:
        """A reader of one run."""
        return StoredRun(self.engine, self.windows, run_id)

    def start(self) -> None:
        """Starts the threads."""
        if self.relay is not None:
            self.relay.start()
        self.callers.start()
        self.log.start()
        self.outbox.start()
        self.judge.start()
        self.compactor.start()
        self.keeper.start()

    def close(self) -> None:
        """Commits what waits and closes the database."""
        self.bell.close()
        self.log.stop()
        self.judge.stop()
        self.compactor.stop()
        self.keeper.stop()
        self.outbox.stop()
        if self.relay is not None:
            self.relay.stop()
        self.callers.stop()
        self.database.close()


def open_guarded(settings: Settings) -> Database:
    """The settings' database; raises StartError where strangers could reach it and no token is asked for."""
    if not has_database(settings.db):
        settings.check()
    database = open_database(settings.db)
    try:
        settings.check(settings.needs_admin_token and has_live_admin(database.engine))
    except StartError:
        database.close()
        raise
    return database


def _judge_settings(settings: Settings, outbox: Outbox) -> JudgeSettings:
    return JudgeSettings(
        interval_seconds=settings.judge_interval_seconds,
        lease_seconds=settings.lease_seconds,
        rank_grace_seconds=settings.rank_grace_seconds,
        heartbeat_grace_seconds=settings.heartbeat_grace_seconds,
        notifiers=outbox.names,
    )
