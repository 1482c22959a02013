#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include "callreplay/callreplay.h"

namespace py = pybind11;

void bind_isa(py::module_ &m);
void bind_decode(py::module_ &m);
void bind_mix(py::module_ &m);
void bind_speex(py::module_ &m);
void bind_raster(py::module_ &m);
void bind_speech(py::module_ &m);
void bind_capi(py::module_ &m);

// The one gate from a status to an exception: callreplay.errors.raise_status(status, detail).
void raise_on_error(cr_status status, const std::string &detail = {});
