#!/bin/sh
# Make the virtual environment $2 with $1 and install the package, editable, with the extras $3.
set -eu
python=$1 venv=$2 extras=$3
"$python" -c 'import sys; sys.exit(not ((3, 11) <= sys.version_info[:2] < (3, 14)))' || {
    echo "error: $python is $("$python" -V 2>&1), but Python 3.11 to 3.13 is needed. Remedy: make PYTHON=python3.11 ..." >&2
    exit 1
}
if [ ! -x "$venv/bin/python" ]; then
    echo "making the virtual environment $venv"
    "$python" -m venv "$venv" || {
        echo "error: no venv. Remedy (Debian): apt install python3-venv" >&2
        exit 1
    }
fi
# a different torch (CUDA) can be installed first; the constraint then leaves it alone
echo "installing dense$extras and what it needs into $venv (about 2 minutes the first time, 1 to 2 GB)"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check -c constraints.txt "torch==$(sed -n 's/^torch==//p' constraints.txt)"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".$extras"
# opencv-python wants libGL from the system, which a server lacks; the headless build of the same version does not
if ! "$venv/bin/python" -c 'import cv2' 2>/dev/null; then
    version=$("$venv/bin/python" -m pip show opencv-python | sed -n 's/^Version: //p')
    echo "this machine has no libGL: using the headless build of OpenCV $version"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --force-reinstall --no-deps \
        "opencv-python-headless==$version"
    "$venv/bin/python" -c 'import cv2'
fi
