"""Reference models: small transformers with residual, hyper- and manifold-constrained connections.

Nothing is imported here, so that the command line stays light: ask the modules for what you need.
"""
