#!/usr/bin/env bash
# Make the virtual environments in which scripts/make_fixtures.py runs, one for each Keras that writes fixtures.
#
#     scripts/make_fixture_envs.sh DIR [NAME...]      all of them, or those named
#
# It needs pythonX.Y of every version below on PATH, or in $PYENV_ROOT/versions (default ~/.pyenv).
# A finished environment is left alone; delete its folder to make it again.
set -euo pipefail

old="h5py==2.10.0 numpy==1.16.6 scipy==1.2.3 PyYAML==5.4.1 Pillow==8.4.0"
tf1="protobuf==3.19.6"

requirements() { # the Python, then the packages; a + before one: without its own requirements
  case "$1" in
    keras-1.0.7) echo "3.6 keras==1.0.7 Theano==1.0.5 $old" ;;
    keras-1.1.2) echo "3.6 keras==1.1.2 Theano==1.0.5 $old" ;;
    keras-1.2.2) echo "3.6 keras==1.2.2 Theano==1.0.5 tensorflow==1.4.0 $tf1 $old" ;;
    keras-2.0.0) echo "3.6 keras==2.0.0 tensorflow==1.4.0 $tf1 $old" ;;
    keras-2.0.5) echo "3.6 keras==2.0.5 tensorflow==1.4.0 $tf1 $old" ;;
    keras-2.0.9) echo "3.6 keras==2.0.9 Theano==1.0.5 tensorflow==1.4.0 $tf1 $old" ;;
    keras-2.1.6) echo "3.6 keras==2.1.6 tensorflow==1.8.0 $tf1 $old" ;;
    keras-2.2.4) echo "3.6 keras==2.2.4 keras-applications==1.0.8 keras-resnet==0.1.0 keras-vggface==0.6 tensorflow==1.12.0 $tf1 $old" ;;
    keras-2.3.1) echo "3.7 keras==2.3.1 keras-applications==1.0.8 keras-resnet==0.2.0 image-classifiers==1.0.0 tensorflow==1.15.5 +imageai==2.0.2 +keras-retinanet==0.5.1 $tf1 $old" ;;
    tf-2.3) echo "3.8 tensorflow-cpu==2.3.4 numpy==1.18.5 h5py==2.10.0 $tf1" ;;
    keras-2.10) echo "3.9 tensorflow-cpu==2.10.1 numpy==1.23.5 h5py==3.8.0 Pillow==9.5.0 tqdm==4.67.1 +keras-cv-attention-models==1.4.1" ;;
    keras-2.13) echo "3.10 tensorflow-cpu==2.13.1 Pillow==10.4.0" ;;
    keras-2.15) echo "3.11 tensorflow-cpu==2.15.1 Pillow==10.4.0 dm-tree==0.1.8 regex==2026.11.19 rich==15.0.0 namex==0.1.0 +keras-core==0.1.7 +keras-cv==0.9.0" ;;
    keras-3.0.5) echo "3.11 keras==3.0.5 tensorflow-cpu==2.16.2 Pillow==10.4.0" ;;
    keras-3.15) echo "3.11 keras==3.15.1 tensorflow-cpu==2.21.0 Pillow==12.0.0 regex==2025.11.3 tokenizers==0.22.1 sentencepiece==0.2.1 +keras-hub==0.32.0" ;;
    *) echo "$1: no such environment" >&2; return 2 ;;
  esac
}

all="keras-1.0.7 keras-1.1.2 keras-1.2.2 keras-2.0.0 keras-2.0.5 keras-2.0.9 keras-2.1.6 keras-2.2.4 keras-2.3.1
     tf-2.3 keras-2.10 keras-2.13 keras-2.15 keras-3.0.5 keras-3.15"

python() { # python VERSION: the newest interpreter of that version
  command -v "python$1" && "python$1" -c '' 2>/dev/null && return
  ls -d "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin/python | sort -V | tail -n 1
}

make_env() { # make_env DIR NAME
  local target="$1/$2" version packages package
  [ -e "$target/finished" ] && return
  read -r version packages <<<"$(requirements "$2")"
  rm -rf "$target"
  "$(python "$version" | tail -n 1)" -m venv "$target"
  "$target/bin/pip" install -q "pip==21.3.1"
  "$target/bin/pip" install -q "setuptools<60" "wheel<0.38"
  # shellcheck disable=SC2046
  "$target/bin/pip" install -q $(tr ' ' '\n' <<<"$packages" | grep -v '^+')
  for package in $packages; do
    case "$package" in +*) "$target/bin/pip" install -q --no-deps "${package#+}" ;; esac
  done
  touch "$target/finished"
  echo "$2: ready"
}

[ $# -ge 1 ] || { echo "usage: $0 DIR [NAME...]" >&2; exit 2; }
dir=$1
shift
mkdir -p "$dir"
for name in ${*:-$all}; do make_env "$dir" "$name"; done
