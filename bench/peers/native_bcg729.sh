#!/usr/bin/env bash
# bench/peers/native_bcg729.sh [DIRECTORY]: build the bcg729 of this Debian's source package with -O3 -march=native
# into DIRECTORY (default build/peers/bcg729) and print the path of its static library. The second baseline of the
# G.729 benchmark: what the peer gains from compiler flags alone. Needs dpkg-dev and cmake; nothing is installed and
# the system's package lists stay as they are.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
out=${1:-$root/build/peers/bcg729}
library=$out/build/src/libbcg729.a
if [ ! -f "$library" ]; then
  mkdir -p "$out/lists/partial" "$out/build"
  cd "$out"
  # The source of what is installed comes from where the packages come from; many systems list no deb-src.
  keys=/usr/share/keyrings/debian-archive-keyring.gpg
  apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' 'Origin: Debian' |
    awk -v keys="$keys" '$3 == "main" { print "deb-src [signed-by=" keys "] " $0 }' | sort -u > sources.list
  options=(-o "Dir::Etc::sourcelist=$out/sources.list" -o Dir::Etc::sourceparts=/dev/null
    -o "Dir::State::lists=$out/lists" -o "Dir::Cache::pkgcache=" -o "Dir::Cache::srcpkgcache=")
  apt-get "${options[@]}" update >&2
  version=$(dpkg-query --show --showformat '${source:Version}' libbcg729-0)
  # Upstream's archive is enough: Debian's own part only packs it.
  apt-get "${options[@]}" source --tar-only "bcg729=$version" >&2
  mkdir -p source
  tar -xf bcg729_*.orig.tar.* -C source --strip-components 1
  cmake -S source -B build -DCMAKE_BUILD_TYPE=None -DCMAKE_C_FLAGS="-O3 -march=native" \
    -DENABLE_SHARED=OFF -DENABLE_STATIC=ON -DENABLE_TESTS=OFF >&2
  cmake --build build -j2 >&2
fi
echo "$library"
