"""Names as they may stand on a screen: what would steer it, or cannot be seen, is shown as such."""


def printable(text: object, most: int = 200) -> str:
    """The text with every control, direction mark and invisible character replaced, cut to `most`."""
    shown = "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in str(text))
    return shown if len(shown) <= most else shown[: most - 1] + "\N{HORIZONTAL ELLIPSIS}"
