#!/bin/sh
# Make the environment .peers/sod with PySODMetrics 1.6.2, the oracle of the saliency measures and the other side
# of benchmarks/saliency.py and benchmarks/hce.py. It pins numpy < 2.3.5 and opencv < 5, hence an environment of its
# own. Usage: sh tests/oracles/sod_env.sh [PYTHON]
set -eu
cd "$(dirname "$0")/../.."
python=${1:-python3} venv=.peers/sod
"$python" -c 'import sys; sys.exit(not ((3, 11) <= sys.version_info[:2] < (3, 14)))' || {
    echo "error: $python is $("$python" -V 2>&1), but Python 3.11 to 3.13 is needed. Remedy: name one, sh $0 python3.11" >&2
    exit 1
}
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    pysodmetrics==1.6.2 numpy==2.3.4 opencv-python-headless==4.14.0.94 scipy==1.17.1 scikit-image==0.25.2
"$venv/bin/python" -c 'import cv2, py_sod_metrics; print("ready:", "'"$venv"'/bin/python")'
