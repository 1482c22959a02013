# To be sourced: builds through ccache where it is installed. The trees of the wheel, the tests and the wheel's test
# compile the same files with the same options; they differ in where they lie, which these settings make no matter.
if command -v ccache >/dev/null; then
  export CMAKE_C_COMPILER_LAUNCHER=ccache CMAKE_CXX_COMPILER_LAUNCHER=ccache
  export CCACHE_BASEDIR=${CCACHE_BASEDIR:-/} CCACHE_NOHASHDIR=1
fi
# And Cython's C (scripts/cython). Every script that sources this stands in the work tree's root.
export CALLREPLAY_CYTHON_CACHE=${CALLREPLAY_CYTHON_CACHE:-$PWD/build/cython}
