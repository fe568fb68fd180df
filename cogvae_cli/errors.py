"""The errors a user can meet; each class knows the exit code it ends the command with.

    CogvaeError                1  failed
    ├── UsageError             2  options that do not go together
    ├── InputError             3  bad or unsupported input
    │   ├── VideoError            a video or image that can't be read as asked
    │   ├── LatentsError          a latents file that is broken or doesn't fit
    │   └── ModelError            weights or a config that aren't a CogVideoX VAE
    ├── OutputExistsError      4  the output is there already
    ├── QualityError           5  a quality gate was missed
    ├── OutputError            1  the output can't be written
    ├── HubError               1  the Hub can't be reached, or refuses
    ├── NonFiniteError         1  the network produced NaN or Inf
    └── DeviceMemoryError      1  the device ran out of memory

An error is one line that says what is wrong and the value seen; its hint is one line that says what to do.
Interrupts are no CogvaeError: Ctrl-C ends a command with 130, SIGTERM with 143.
"""

from __future__ import annotations


class CogvaeError(Exception):
    """Base of all errors that are the user's to mend."""

    exit_code = 1

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.message, self.hint)


class UsageError(CogvaeError):
    """Options that do not go together, or a value outside its range."""

    exit_code = 2


class InputError(CogvaeError):
    """An input that is missing, broken or of an unsupported kind."""

    exit_code = 3


class VideoError(InputError):
    """A video or image that can't be read as asked."""


class LatentsError(InputError):
    """A latents file that is broken, or doesn't fit the model it is given to."""


class ModelError(InputError):
    """Weights or a config that aren't a CogVideoX VAE, or aren't whole."""


class OutputExistsError(CogvaeError):
    """The output is there already and overwriting was not asked for."""

    exit_code = 4


class QualityError(CogvaeError):
    """A measured quality is below the gate that was set."""

    exit_code = 5


class OutputError(CogvaeError):
    """The output can't be written: no space, no permission, no such folder."""


class HubError(CogvaeError):
    """The Hub can't be reached, or refuses to serve the model."""


class NonFiniteError(CogvaeError):
    """The network produced NaN or Inf."""


class DeviceMemoryError(CogvaeError):
    """The device ran out of memory."""
