#!/usr/bin/env bash
# Installs the programs that cryolatent is compared with, each into an environment of its own.
#
#   benchmarks/install_peers.sh [FOLDER]     default: benchmarks/.peers
#
# RELION comes from the system (Debian: package relion). PYTHON names the interpreter, TORCH the
# build of torch: give a CPU build by its wheel's path where the default one brings CUDA along.
set -euo pipefail

folder=${1:-$(cd "$(dirname "$0")" && pwd)/.peers}
python=${PYTHON:-python3}
torch=${TORCH:-torch==2.13.0}

# cryoDRGN 4.3.0 wants torch < 2.10 and numpy < 1.27; 4.3.1 computes the same and wants neither.
# Its notebook server is left out: no command needs it. torchvision must not be there.
cryodrgn=cryodrgn==4.3.1
needs=(
  "$torch" 'numpy<2.4' 'scipy<1.18' 'scikit-learn<1.10' 'pandas>=2.2,<3' 'matplotlib>=3.7'
  'seaborn>=0.12.2' 'plotly>=5,<7' 'flask>=3' healpy igraph ipywidgets nbformat pyyaml starfile
  umap-learn
)

mkdir -p "$folder"
"$python" -m venv "$folder/cryodrgn"
pip=("$folder/cryodrgn/bin/python" -m pip --disable-pip-version-check -q)
"${pip[@]}" install "${needs[@]}"
"${pip[@]}" install --no-deps "$cryodrgn"
"$folder/cryodrgn/bin/cryodrgn" --version

if command -v relion_refine >/dev/null; then
  relion_refine --version
else
  echo "RELION is missing; on Debian: apt-get install relion" >&2
  exit 1
fi
