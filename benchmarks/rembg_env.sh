#!/bin/sh
# Make the environment .peers/rembg with rembg 2.0.86 on ONNX Runtime, the other side of benchmarks/cutout_folder.py.
# Usage: sh benchmarks/rembg_env.sh [PYTHON]
set -eu
cd "$(dirname "$0")/.."
python=${1:-python3} venv=.peers/rembg
"$python" -c 'import sys; sys.exit(sys.version_info[:2] < (3, 11))' || {
    echo "error: $python is $("$python" -V 2>&1), but rembg needs Python 3.11. Remedy: name one, sh $0 python3.11" >&2
    exit 1
}
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check "rembg[cpu]==2.0.86" "onnxruntime==1.32.0"
"$venv/bin/python" -c 'import rembg; print("ready:", "'"$venv"'/bin/python")'
