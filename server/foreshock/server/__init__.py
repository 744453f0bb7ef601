"""The collector: stores what probes send, judges it, shows it, and says so in time."""
