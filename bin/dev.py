"""The Python part of bin/dev: run the API for development until a signal to stop."""

import _signal  # type: ignore[import-not-found]

# Until the handlers below are set, Ctrl-C ends the process without a traceback. `_signal` is
# built in, so this import is fast enough.
_signal.signal(_signal.SIGINT, _signal.SIG_DFL)

import argparse  # noqa: E402
import os  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402
from contextlib import ExitStack  # noqa: E402
from pathlib import Path  # noqa: E402
from types import FrameType  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

from app.config import ConfigError  # noqa: E402
from bin.development import Development  # noqa: E402
from bin.embedded_postgres import NotStarted  # noqa: E402
from bin.server import say  # noqa: E402

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class Stop(BaseException):
    """A signal to stop has arrived."""


def main() -> int:
    """Serve, and return the exit code."""
    parser = argparse.ArgumentParser(prog="bin/dev", description="Runs the API for development.")
    parser.add_argument("--open", action="store_true", help="open the example client in a browser")
    arguments = parser.parse_args()
    os.chdir(ROOT)
    for signal_number in STOP_SIGNALS:
        signal.signal(signal_number, _stop)
    with ExitStack() as stack:
        try:
            Development(stack).run(open_browser=arguments.open)
        except (NotStarted, ConfigError, OSError) as error:
            say(f"Not started: {error}")
            return 1
        except Stop:
            say("\nStopping.")
        finally:
            # Stopping takes a few seconds. Another signal must not interrupt it.
            for signal_number in STOP_SIGNALS:
                signal.signal(signal_number, signal.SIG_IGN)
    return 0


def _stop(signal_number: int, frame: FrameType | None) -> None:
    raise Stop


if __name__ == "__main__":
    sys.exit(main())
