# Sourced by bin/dev and bin/test: makes .venv with all requirements, where it is
# missing or they have changed. Needs the network only then.
cd "$(dirname "$0")/.." || exit 1

find_python() {
    for candidate in "${PYTHON:-}" python3 python3.13 python3.12 python3.11 python3.10 python; do
        [ -n "$candidate" ] && command -v "$candidate" >/dev/null 2>&1 || continue
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    echo "Python 3.10 or newer is needed and was not found: get it from https://www.python.org" >&2
    echo "or your system's packages, or name yours: PYTHON=/path/to/python3 $0" >&2
    return 1
}

stamp=.venv/requirements.installed
wanted=$(cat requirements.txt requirements-dev.txt | cksum)
if ! [ -f "$stamp" ] || [ "$(cat "$stamp")" != "$wanted" ] || ! .venv/bin/python -c '' 2>/dev/null; then
    python=$(find_python) || exit 1
    echo "Making .venv with $("$python" --version) and installing what the project needs ..."
    rm -rf .venv
    if ! "$python" -m venv .venv; then
        rm -rf .venv
        echo "Python could not make a virtual environment. On Debian and Ubuntu: apt install python3-venv" >&2
        exit 1
    fi
    if ! .venv/bin/python -m pip install --quiet --disable-pip-version-check \
        -r requirements.txt -r requirements-dev.txt; then
        echo "Installing failed. The first start needs the network; run $0 again when you have it." >&2
        exit 1
    fi
    echo "$wanted" >"$stamp"
fi
