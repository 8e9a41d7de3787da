#!/bin/sh
# Creates the virtual environment and installs the locked, byte-compiled dependencies into it.
# Byte-code matters here: without it each Dagster run costs 6 s instead of 2.5 s.
set -eu
python="${PYTHON:-python3}"
venv="${VENV:-.venv}"
unset PYTHONDONTWRITEBYTECODE

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "setup: $("$python" --version 2>&1) is too old: HPS Platform needs Python 3.11 or newer (set PYTHON=...)" >&2
    exit 1
fi

if command -v uv >/dev/null 2>&1; then
    uv=uv
else
    bootstrap="$venv.uv"
    if [ ! -x "$bootstrap/bin/uv" ]; then
        echo "setup: uv is not installed; fetching it with pip into $bootstrap"
        "$python" -m venv "$bootstrap"
        "$bootstrap/bin/python" -m pip install --quiet uv
    fi
    uv="$bootstrap/bin/uv"
fi

[ -x "$venv/bin/python" ] || "$uv" venv --quiet --python "$python" "$venv"
echo "setup: installing the locked dependencies into $venv"
"$uv" pip sync --quiet --python "$venv/bin/python" --compile-bytecode requirements.lock
"$uv" pip install --quiet --python "$venv/bin/python" --no-deps --compile-bytecode -e .
