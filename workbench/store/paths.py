"""The folders and files of the program. Nothing is created here."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import platformdirs

from workbench.core.user_path import expanded

APP_NAME = "workbench"

HOME_VARIABLE = "WORKBENCH_HOME"
"""The environment variable that moves every folder under one."""


@dataclass(frozen=True)
class _Below:
    """A path below one of the folders of `Paths`."""

    folder: str
    name: str

    def __get__(self, paths: Paths, owner: type[Paths]) -> Path:
        folder: Path = getattr(paths, self.folder)
        return folder / self.name


@dataclass(frozen=True)
class Paths:
    """Every folder and file that the program uses by itself."""

    config_dir: Path
    """What the user writes: the configuration and themes."""
    data_dir: Path
    """What must not be lost: sessions, exports and kept runs."""
    state_dir: Path
    """What may be lost, but is useful: the log, the records of loads."""
    cache_dir: Path
    """What can be recreated."""

    config_file = _Below("config_dir", "config.toml")
    models_file = _Below("config_dir", "models.toml")
    """The settings that are kept for models."""
    themes_dir = _Below("config_dir", "themes")
    """The user's own themes, one TOML file each."""
    sessions_file = _Below("data_dir", "sessions.db")
    exports_dir = _Below("data_dir", "exports")
    races_dir = _Below("data_dir", "races")
    models_dir = _Below("data_dir", "models")
    """Quantizations whose source is in a folder of another program."""
    bench_dir = _Below("data_dir", "bench")
    evals_dir = _Below("data_dir", "evals")
    blind_dir = _Below("data_dir", "blind")
    quality_dir = _Below("data_dir", "quality")
    decisions_dir = _Below("data_dir", "decisions")
    log_file = _Below("state_dir", "workbench.log")
    """The log of the engine and the program."""
    loads_file = _Below("state_dir", "loads.json")
    """The records of loads: memory expected and used, and speed."""
    prompts_dir = _Below("state_dir", "prompts")
    """Earlier prompts, and unsent ones."""
    memory_speed_file = _Below("state_dir", "memory_speed.json")
    pulled_file = _Below("state_dir", "pulled.json")
    """The digests of files that were fetched to folders."""
    pieces_dir = _Below("state_dir", "pieces")
    """Digests of the parts of fetched files, by which damage is found."""
    pulls_dir = _Below("state_dir", "pulls")
    """The downloads that are not done."""
    library_cache = _Below("cache_dir", "library.json")
    """The metadata of the model files."""

    @property
    def private_folders(self) -> tuple[Path, ...]:
        """The folders of files that hold private words: conversations, prompts, logs and figures of models."""
        experiments = (
            self.races_dir,
            self.bench_dir,
            self.evals_dir,
            self.blind_dir,
            self.quality_dir,
            self.decisions_dir,
        )
        return self.data_dir, self.state_dir, self.exports_dir, *experiments, self.prompts_dir

    def as_dict(self) -> dict[str, Path]:
        """Every path by name, in display order: each folder, and what is below it."""
        below = [(name, value) for name, value in vars(Paths).items() if isinstance(value, _Below)]
        found: dict[str, Path] = {}
        for field in fields(self):
            found[field.name] = getattr(self, field.name)
            found |= {name: getattr(self, name) for name, value in below if value.folder == field.name}
        return found


def find_paths(environ: Mapping[str, str] | None = None) -> Paths:
    """The paths of this user; `environ` may set `WORKBENCH_HOME`, by default that of the process."""
    home = (os.environ if environ is None else environ).get(HOME_VARIABLE, "")
    if home:
        # Made absolute once: the program may change its working directory, and its files must not move with it.
        root = expanded(home).absolute()
        return Paths(root / "config", root / "data", root / "state", root / "cache")
    dirs = platformdirs.PlatformDirs(APP_NAME, appauthor=False)
    return Paths(dirs.user_config_path, dirs.user_data_path, dirs.user_state_path, dirs.user_cache_path)
