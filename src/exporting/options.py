"""What an export may be asked for, and the file that it writes."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from src.base.config import PackageName, Section
from src.base.errors import ConfigError

FormatName = Literal["onnx", "torch_export"]
SUFFIXES: dict[FormatName, str] = {"onnx": ".onnx", "torch_export": ".pt2"}


class ExportOptions(Section):
    """See conf/export.yaml."""

    run: str = Field(min_length=1)
    allow_targets: tuple[PackageName, ...] = ()
    format: FormatName
    output: str | None = Field(min_length=1)
    inputs: str | None = Field(min_length=1)
    overwrite: bool

    def default_output(self, run_id: str) -> Path:
        """Where the file of the run `run_id` is written when nothing else is asked for."""
        return Path(self.run) / "export" / f"{run_id}{SUFFIXES[self.format]}"

    def check_output(self, output: Path) -> None:
        """Raises ConfigError when `output` is no file of the format, or is there and may not be overwritten."""
        suffix = SUFFIXES[self.format]
        if output.suffix != suffix:
            raise ConfigError([f"output: got {output}; the file of format={self.format} ends in {suffix}"])
        if output.is_dir():
            raise ConfigError([f"output: {output} is a folder; give a file"])
        if output.exists() and not self.overwrite:
            raise ConfigError(
                [f"output: {output} is there already; overwrite=true replaces it, output=<file> spares it"]
            )
