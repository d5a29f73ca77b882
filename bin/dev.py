"""Runs the API for development: database, schema, seed, server; the second half of bin/dev."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import Any

from dotenv import dotenv_values

ROOT = Path(__file__).resolve().parent.parent
FLASK = [sys.executable, "-m", "flask", "--app", "app"]

sys.path.insert(0, str(ROOT))

from app import config  # noqa: E402
from bin import embedded_postgres  # noqa: E402


def main() -> None:
    """Serve until Ctrl-C or SIGTERM."""
    os.chdir(ROOT)
    given = [os.environ.get("APP_ENV"), dotenv_values(ROOT / ".env").get("APP_ENV")]
    os.environ["APP_ENV"] = next((name for name in given if name and name.strip()), "development")
    os.environ["FLASK_SKIP_DOTENV"] = "1"  # app.config reads the files, in its own order
    try:
        settings = config.read_settings()
    except config.ConfigError as error:
        sys.exit(f"Not started: {error}. See .env.example.")
    if _is_taken(settings["PORT"]):
        sys.exit(f"Port {settings['PORT']} is in use. Choose another: PORT=8002 bin/dev")

    for signal_number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signal_number, _interrupt)
    with ExitStack() as stack:
        if not settings["DATABASE"]:
            print("Starting PostgreSQL; its data is kept in .postgres")
            os.environ["DATABASE_URL"] = stack.enter_context(
                embedded_postgres.running(ROOT / ".postgres")
            )
        try:
            subprocess.run([*FLASK, "db", "prepare"], check=True)
            _explain(settings)
            server = subprocess.Popen(
                [*FLASK, "run", "--reload", "--no-debugger", "--port", str(settings["PORT"])],
                start_new_session=True,
            )
            stack.callback(_stop, server)
            sys.exit(server.wait())
        except subprocess.CalledProcessError:
            sys.exit(1)
        except KeyboardInterrupt:
            print("\nStopping.")


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _interrupt(signal_number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _explain(settings: dict[str, Any]) -> None:
    url = f"http://localhost:{settings['PORT']}"
    print(
        f"""
  The API      {url}/api/days
  Try it       python3 -m http.server 8000 --directory examples/client
               then open http://localhost:8000/?api={url}"""
    )
    if settings["APP_ENV"] != "production":
        print(f"  Start over   curl {url}/api/debug/reset")
    print("  Stop         Ctrl-C\n", flush=True)


def _stop(server: subprocess.Popen[bytes]) -> None:
    """End the server, the process it reloads in too."""
    for signal_number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(server.pid, signal_number)
            server.wait(3)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


if __name__ == "__main__":
    main()
