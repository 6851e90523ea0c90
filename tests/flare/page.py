"""What docs/FLARE.md tells its reader to write, so that the tests run just that."""

import re
from pathlib import Path
from textwrap import dedent

PAGE = Path(__file__).parents[2] / "docs" / "FLARE.md"


def block(kind: str, containing: str) -> str:
    """The one block of this kind (json, toml, …) that has these words in it."""
    blocks = re.findall(rf"^( *)```{kind}\n(.*?)^ *```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    (found,) = (dedent(text) for _, text in blocks if containing in text)
    return found
