#!/usr/bin/env bash
# Rebuild the peers from their Debian source packages with -O3 -march=native into build/peers/native.
# usage: bench/peers/native_peers.sh [spandsp|ffmpeg|bcg729]...   (default: all)
# A peer that is there already is left alone. Without sources (no network, no deb-src index) it says so and the
# benchmark compares with Debian's build only.
set -uo pipefail
cd "$(dirname "$0")/../.."
root=$PWD/build/peers
prefix=$root/native
flags="-O3 -march=native -DNDEBUG"
mkdir -p "$root/src" "$root/lists/partial" "$prefix"
say() { printf 'native_peers: %s\n' "$*" >&2; }

# An index of sources of our own, made from the package indices that this system uses; nothing in /etc changes.
apt_source() {
  local options=(-o "Dir::Etc::SourceList=$root/sources.list" -o Dir::Etc::SourceParts=- -o "Dir::State::Lists=$root/lists"
    -o APT::Sandbox::User=root -qq)
  if [[ ! -s $root/sources.list ]]; then
    apt-get indextargets --format 'deb-src $(REPO_URI) $(RELEASE) $(COMPONENT)' \
      'Created-By: Packages' 'Origin: Debian' | sort -u >"$root/sources.list"
    apt-get "${options[@]}" update || { rm -f "$root/sources.list"; return 1; }
  fi
  rm -rf "$root/src/$1"
  if (cd "$root/src" && apt-get "${options[@]}" source --download-only "$1" >/dev/null); then
    dpkg-source --no-check -x "$(ls -t "$root/src/$1"_*.dsc | head -1)" "$root/src/$1" >/dev/null
    return
  fi
  # A mirror may hold the upstream tarball without Debian's patches, which do not touch the codecs.
  local tarball
  tarball=$(ls -t "$root/src/$1"_*.orig.tar.* 2>/dev/null | head -1)
  [[ -n $tarball ]] || return 1
  say "$1: upstream tarball of the package, without Debian's patches"
  mkdir "$root/src/$1" && tar -xf "$tarball" -C "$root/src/$1" --strip-components=1
}

build_spandsp() {
  cd "$root/src/spandsp" || return 1
  [[ -x configure ]] || autoreconf -fi || return 1
  ./configure --prefix="$prefix" --disable-static CFLAGS="$flags" && make -C src -j2 && make -C src install-exec
}

build_ffmpeg() {
  cd "$root/src/ffmpeg" || return 1
  ./configure --prefix="$prefix" --enable-shared --disable-static --disable-everything --disable-programs --disable-doc \
    --disable-avdevice --disable-avfilter --disable-avformat --disable-swscale --disable-swresample --disable-autodetect \
    $(command -v nasm >/dev/null || echo --disable-x86asm) --enable-decoder=adpcm_g722,pcm_mulaw,pcm_alaw,g729 --optflags="$flags" && make -j2 && make install-libs
}

build_bcg729() {
  cmake -S "$root/src/bcg729" -B "$root/src/bcg729-build" -DCMAKE_INSTALL_PREFIX="$prefix" -DCMAKE_INSTALL_LIBDIR=lib \
    -DCMAKE_BUILD_TYPE=Release "-DCMAKE_C_FLAGS=$flags" -DENABLE_TESTS=OFF -DENABLE_STATIC=OFF &&
    cmake --build "$root/src/bcg729-build" -j2 && cmake --install "$root/src/bcg729-build"
}

declare -A library=([spandsp]=libspandsp.so.2 [ffmpeg]=libavcodec.so.59 [bcg729]=libbcg729.so.0)
for peer in "${@:-spandsp ffmpeg bcg729}"; do
  for name in $peer; do
    [[ -e $prefix/lib/${library[$name]} ]] && continue
    if ! apt_source "$name" 2> >(tee "$root/$name.log" | grep '^native_peers' >&2); then
      say "$name: no source package to be had, skipped ($(tail -1 "$root/$name.log"))"
    elif ! ("build_$name") >"$root/$name.log" 2>&1; then
      say "$name: does not build, skipped (see build/peers/$name.log)"
    else
      say "$name: built with $flags"
    fi
  done
done
