#!/bin/sh
# The environment of benchmarks/foreground.py: pymatting (MIT) with numba, and OpenCV; dense itself runs from the clone.
#   sh benchmarks/foreground_env.sh [PYTHON]     -> .peers/matting/bin/python
set -e
cd "$(dirname "$0")/.."
python=${1:-python3} venv=.peers/matting
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check -c constraints.txt \
    pymatting==1.1.16 numba numpy opencv-python-headless pillow
"$venv/bin/python" -c 'import cv2, pymatting; print("ready:", "'"$venv"'/bin/python")'
