"""Whether a file is what it should be: its digest, and the scales of its quantized blocks."""

from __future__ import annotations

from pathlib import Path

from workbench.library.pull.download import new_digest
from workbench.library.pull.variants import RemoteFile

_STEP = 8 * 2**20


def digest_of(path: Path, file: RemoteFile) -> str:
    """The digest of the file `path`, in the form of that of `file`; raises an OSError where it cannot be read."""
    digest = new_digest(file)
    with path.open("rb") as opened:
        while data := opened.read(_STEP):
            digest.update(data)
    return digest.hexdigest()
