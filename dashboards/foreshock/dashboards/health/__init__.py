"""A run's health in words, judged in one place: pages, reports and terminals all say the same.

    health = judge_health(Evidence.of(run, alerts, values), reader)
    health.word, health.layer, health.moved_since, health.sentence

It rests on steps and values alone, never on a clock.
"""

from foreshock.dashboards.health.alert_facts import AlertFacts
from foreshock.dashboards.health.evidence import Departure, Evidence
from foreshock.dashboards.health.health import LEVELS, Health, Level
from foreshock.dashboards.health.judgement import judge_health

__all__ = ["LEVELS", "AlertFacts", "Departure", "Evidence", "Health", "Level", "judge_health"]
