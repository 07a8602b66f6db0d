"""Where the program keeps its files. Asking creates nothing."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import platformdirs

APP_NAME = "workbench"

HOME_VARIABLE = "WORKBENCH_HOME"
"""The environment variable that moves every folder under one."""


@dataclass(frozen=True, slots=True)
class Paths:
    """Every folder and file that the program uses of its own accord."""

    config_dir: Path
    """What the user writes: the configuration and themes."""
    data_dir: Path
    """What must not be lost: sessions, exports and benchmark runs."""
    state_dir: Path
    """What may be lost but is good to have: the log, what loads came to."""
    cache_dir: Path
    """What can be made again."""

    @property
    def config_file(self) -> Path:
        """The configuration."""
        return self.config_dir / "config.toml"

    @property
    def themes_dir(self) -> Path:
        """The user's own themes, one TOML file each."""
        return self.config_dir / "themes"

    @property
    def sessions_file(self) -> Path:
        """The database of the conversations."""
        return self.data_dir / "sessions.db"

    @property
    def exports_dir(self) -> Path:
        """Where an export goes when no folder is named."""
        return self.data_dir / "exports"

    @property
    def bench_dir(self) -> Path:
        """One file for each benchmark run."""
        return self.data_dir / "bench"

    @property
    def memory_speed_file(self) -> Path:
        """The memory bandwidth of the processors."""
        return self.state_dir / "memory_speed.json"

    @property
    def models_dir(self) -> Path:
        """Where a quantization is written if nothing may be put beside its source."""
        return self.data_dir / "models"

    @property
    def races_dir(self) -> Path:
        """One file for each race."""
        return self.data_dir / "races"

    @property
    def log_file(self) -> Path:
        """What the engine and the program logged."""
        return self.state_dir / "workbench.log"

    @property
    def loads_file(self) -> Path:
        """What loads came to: memory expected and taken, and speed."""
        return self.state_dir / "loads.json"

    @property
    def prompts_dir(self) -> Path:
        """What was typed: earlier prompts, and what was not sent yet."""
        return self.state_dir / "prompts"

    @property
    def library_cache(self) -> Path:
        """What the model files say of themselves."""
        return self.cache_dir / "library.json"

    def as_dict(self) -> dict[str, Path]:
        """Every path by name, in the order to show them."""
        return {
            "config_dir": self.config_dir,
            "config_file": self.config_file,
            "themes_dir": self.themes_dir,
            "data_dir": self.data_dir,
            "sessions_file": self.sessions_file,
            "exports_dir": self.exports_dir,
            "races_dir": self.races_dir,
            "models_dir": self.models_dir,
            "bench_dir": self.bench_dir,
            "state_dir": self.state_dir,
            "log_file": self.log_file,
            "loads_file": self.loads_file,
            "prompts_dir": self.prompts_dir,
            "memory_speed_file": self.memory_speed_file,
            "cache_dir": self.cache_dir,
            "library_cache": self.library_cache,
        }


def expanded(path: Path) -> Path:
    """`path` with a leading `~` as the home folder; as it is where there is no such home."""
    try:
        return path.expanduser()
    except RuntimeError:
        return path


def find_paths(environ: Mapping[str, str] | None = None) -> Paths:
    """The paths that hold for this user.

    Args:
        environ: Where to look for `WORKBENCH_HOME`; the process's environment by default.
    """
    home = (os.environ if environ is None else environ).get(HOME_VARIABLE, "")
    if home:
        # Made absolute once: the program may change its working directory, and its files must not move with it.
        root = expanded(Path(home)).absolute()
        return Paths(root / "config", root / "data", root / "state", root / "cache")
    dirs = platformdirs.PlatformDirs(APP_NAME, appauthor=False)
    return Paths(dirs.user_config_path, dirs.user_data_path, dirs.user_state_path, dirs.user_cache_path)
