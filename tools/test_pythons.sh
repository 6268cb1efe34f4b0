#!/usr/bin/env bash
# Run the tests of the core on other Pythons than that of .venv, as far as this machine has them: `tools/test_pythons.sh [3.12 3.13]`.
# The core is what needs neither torch nor W&B. Each version has an environment of its own, .venv-VERSION, of the locked packages.
set -euo pipefail
cd "$(dirname "$0")/.."

find_python() {  # VERSION: on PATH, where one of pyenv's shims may stand for nothing, or among pyenv's versions
    local python
    for python in $(type -ap "python$1") "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin/python3; do
        if "$python" -c "import ensurepip, sys; sys.exit('%d.%d' % sys.version_info[:2] != '$1')" 2>/dev/null; then
            echo "$python"
            return
        fi
    done
}

install() {  # PYTHON ENVIRONMENT: unless nothing has changed since
    local source
    for source in requirements.lock settings.ini setup.py pyproject.toml mlops_kit/engine/access_log.c; do
        [[ $2/.ready -nt $source ]] || break
        source=
    done
    [[ $source ]] || return 0
    echo "installing the locked packages of the core into $2" >&2
    "$2/bin/python" -m pip --version >/dev/null 2>&1 || "$1" -m venv "$2"
    "$2/bin/python" -m pip install -qq -c requirements.lock setuptools
    "$2/bin/python" -m pip install -qq -c requirements.lock --no-build-isolation -e '.[dev,demo]'
    touch "$2/.ready"
}

failed=
(($#)) || set -- 3.12 3.13
for version; do
    python=$(find_python "$version")
    if [[ -z $python ]]; then
        echo "== Python $version: not found on this machine, nothing is tested with it"
        continue
    fi
    environment=$PWD/.venv-$version
    install "$python" "$environment"
    echo "== Python $version: tests of the core"
    PATH=$environment/bin:$PATH RANDOM_PROJECTS=40 "$environment/bin/pytest" -q -p no:cacheprovider -n 2 --dist loadfile \
        --no-loadscope-reorder tests/{store,notebook,engine,ledger,capture,pipeline} || failed+=" $version"
done
[[ -z $failed ]] || { echo "failed with Python$failed" >&2; exit 1; }
