#include "callreplay/status.h"

extern "C" const char *cr_status_message(cr_status status) {
  switch (status) {
#define CR_STATUS(name, value, python, message) \
  case CR_##name:                               \
    return message;
#include "callreplay/status.def"
#undef CR_STATUS
  }
  return "unknown status";
}
