"""Grafana's dashboards as code, by Grafana's own foundation SDK; the collector never imports this."""
