"""What commands say to users."""

from collections.abc import Sequence


class ConfigError(ValueError):
    """What a user asked for cannot be done; `problems` holds one line for each reason."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(self.problems))
