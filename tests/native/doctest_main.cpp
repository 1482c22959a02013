// Of the programs that bring no main() of their own, as those with checkasm.h do.
#include <doctest/doctest.h>

int main(int argc, char **argv) {
  return doctest::Context(argc, argv).run();
}
