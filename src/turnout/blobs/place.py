"""Where the file of a model blob lies, for transports whose ends share a file system."""

import re
from pathlib import Path
from typing import Final

_SHA256: Final = re.compile(r"[0-9a-f]{64}")


def blob_file(folder: str, sha256: str) -> Path:
    """The file of a blob. Raises FileNotFoundError when the name is not a sha256 in lower-case hex or has no file."""
    if _SHA256.fullmatch(sha256) is None:
        raise FileNotFoundError("a model blob is named by 64 lower-case hex digits")
    path = Path(folder, f"{sha256}.safetensors")
    if not folder or not path.is_file():
        raise FileNotFoundError(f"no model blob {sha256}")
    return path
