"""The Sinkhorn kernels beside those of others, compiled the same way."""
