#!/usr/bin/env bash
# Create the virtual environment for development: `PYTHON=python3 testbed/install_venv.sh .venv`.
# Prints one line, and more only if something fails.
set -euo pipefail

cd "$(dirname "$0")/.."
venv=${1:?"usage: testbed/install_venv.sh FOLDER"}
python=${PYTHON:-python3}

fail() {
    echo "install_venv: $*" >&2
    exit 1
}

command -v "$python" >/dev/null || fail "$python is missing; install Python 3.11 or newer, or run: make PYTHON=/path/to/python"
version=$("$python" -c 'import sys; print(".".join(map(str, sys.version_info[:2])))')
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$python is Python $version, development needs 3.11 or newer; run: make PYTHON=/path/to/python"

# On Debian and Ubuntu, `python -m venv` needs a separate package.
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    package=python$version-venv
    if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
        echo "install_venv: installing the system package $package for $python"
        { apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends "$package" >/dev/null; } ||
            fail "apt-get could not install $package"
    else
        fail "$python cannot create virtual environments; run: sudo apt-get install $package"
    fi
fi

echo "install_venv: creating $venv with Python $version and the packages of requirements-dev.txt"
# Recreate a folder that was moved or has no working Python.
"$venv/bin/python" -m pip --version >/dev/null 2>&1 || "$python" -m venv --clear "$venv"
install=("$venv/bin/python" -m pip --disable-pip-version-check install --quiet --no-input)
"${install[@]}" --require-hashes -r requirements-dev.txt || fail "the packages of requirements-dev.txt could not be installed (see above)"
"${install[@]}" --no-deps --editable . || fail "the project could not be installed (see above); its build needs the package hatchling"
