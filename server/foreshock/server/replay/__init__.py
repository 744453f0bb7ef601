"""Recorded runs judged as they would have been live: traces read, rules applied, transitions told."""
