#!/usr/bin/env bash
# What an image of the training container is made of, for Dockerfile, Dockerfile.p3 and a bare
# Debian or Ubuntu: image.sh build PREFIX [cmake flag...] | image.sh runtime
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

case ${1:-} in
  build) # installs what building needs, builds, puts programs and libraries below PREFIX
    prefix=$2
    shift 2
    ./pneuma setup
    cmake -S . -B build -G Ninja -DPNEUMA_TESTS=OFF -DPNEUMA_BENCH=OFF "$@"
    ninja -C build
    cmake --install build --prefix "$prefix"
    ln -sf train_cxr "$prefix/bin/train" # the contract's name of the entry point
    ;;
  runtime) # installs the libraries that the programs load, by the names of this distribution
    apt-get update -q
    names=$(apt-cache pkgnames | grep -E '^(libfmt[0-9]+|libspng0|libdeflate0|libjpeg62-turbo|libjpeg-turbo8|libgomp1|zlib1g)$')
    # shellcheck disable=SC2086 # one word a package
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $names
    rm -rf /var/lib/apt/lists/*
    ;;
  *)
    echo "usage: image.sh build PREFIX [cmake flag...] | image.sh runtime" >&2
    exit 2
    ;;
esac
