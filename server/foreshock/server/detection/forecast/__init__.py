"""The forecaster: how likely a spike or a divergence is, within how many steps, and by which signals."""
