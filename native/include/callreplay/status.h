/* Status codes of the C face. No function throws, prints or aborts; each returns one of these. */
#ifndef CALLREPLAY_STATUS_H
#define CALLREPLAY_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

typedef enum cr_status {
#define CR_STATUS(name, value, python, message) CR_##name = (value),
#include "callreplay/status.def"
#undef CR_STATUS
} cr_status;

/* A constant English sentence for `status`, never NULL. */
const char *cr_status_message(cr_status status);

#ifdef __cplusplus
}
#endif
#endif
