"""How well a detector warns: recorded, labelled runs are shown to watchers, and what they say is scored.

Nothing is imported here, so that the command line stays light. This folder alone may import
`foreshock.server.detection`, since foreshock's own detector is what is judged.
"""
