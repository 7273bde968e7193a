#!/bin/sh
# Make the environment .peers/nnunet with the predictors of nnU-Net 2 and 1, the oracles of dense/tasks/volume*.py and
# the other side of benchmarks/sliding_window.py. Both are installed without their dependencies (those would bring CUDA
# and torchvision); what their predictors import is named here. nnU-Net 1 goes with the batchgenerators of its time into
# a folder of its own, .peers/nnunet/generation1, to be put before the path.
# Usage: sh tests/oracles/nnunet_env.sh [PYTHON [SITE-PACKAGES-WITH-TORCH]]
# With the second argument PyTorch and what else is found there are shared by a .pth file in place of being installed.
set -eu
cd "$(dirname "$0")/../.."
python=${1:-python3} shared=${2:-} venv=.peers/nnunet
"$python" -c 'import sys; sys.exit(not ((3, 11) <= sys.version_info[:2] < (3, 14)))' || {
    echo "error: $python is $("$python" -V 2>&1), but Python 3.11 to 3.13 is needed. Remedy: name one, sh $0 python3.11" >&2
    exit 1
}
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
pip="$venv/bin/python -m pip --quiet --disable-pip-version-check"
if [ -n "$shared" ]; then
    "$venv/bin/python" -c 'import pathlib, sys, sysconfig
pathlib.Path(sysconfig.get_paths()["purelib"], "shared.pth").write_text(sys.argv[1] + "\n")' "$shared"
else
    $pip install -c constraints.txt torch==2.13.0 numpy==2.2.6 scipy==1.17.1 scikit-image==0.26.0 tqdm PyYAML requests
fi
# --no-deps: acvl_utils, nnU-Net and dynamic_network_architectures (timm) ask for torchvision or a CUDA torch
$pip install --no-deps nnunetv2==2.8.1 acvl_utils==0.2.6 batchgenerators==0.25.5 batchgeneratorsv2==0.3.6 \
    dynamic_network_architectures==0.4.4 connected-components-3d fft-conv-pytorch
$pip install blosc2 SimpleITK pandas nibabel scikit-learn einops future threadpoolctl numpy==2.2.6
$pip install --no-deps --upgrade --target "$venv/generation1" nnunet==1.7.1 batchgenerators==0.23
"$venv/bin/python" -W ignore -c 'from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor'
echo "ready: $venv/bin/python"
