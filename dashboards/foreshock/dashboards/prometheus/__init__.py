"""Prometheus' recording and alerting rules as code, and the cases that promtool tries them by."""
