"""Rules of the user's own, and other settings of the shipped ones, from a YAML file."""

from foreshock.server.detection.user_rules.book import RuleBook, load_rules, shipped_book
from foreshock.server.detection.user_rules.problems import Problem, RulesFileError

__all__ = ["Problem", "RuleBook", "RulesFileError", "load_rules", "shipped_book"]
