// The Speex encoder for one instruction set: a lane per stream, one stream with several candidates at a time,
// and (in the baseline only) the scalar instance.
#include <new>

#include "encode/speex/kernel.h"
#include "encode/speex/wideband.h"
#include "lanes/transpose.h"
#if defined(__SSE__)
#include <xmmintrin.h>  // the law alone, without registers, has the mode of rounding too
#endif

namespace callreplay::CR_ISA {

namespace {

// A library that was built with fast-math may have switched the thread to flushing denormals; the octets must
// not depend on it.
class FloatEnvironment {
 public:
#if defined(__SSE__)
  FloatEnvironment() : saved_(_mm_getcsr()) {
    _mm_setcsr(0x1f80);
  }
  ~FloatEnvironment() {
    _mm_setcsr(saved_);
  }

 private:
  unsigned saved_;
#elif defined(__aarch64__)
  FloatEnvironment() {
    asm volatile("mrs %0, fpcr" : "=r"(saved_));
    asm volatile("msr fpcr, %0" : : "r"(uint64_t{0}));
  }
  ~FloatEnvironment() {
    asm volatile("msr fpcr, %0" : : "r"(saved_));
  }

 private:
  uint64_t saved_;
#endif
};

// Both modes keep a stream in the same floats; the narrowband state is the wideband state's beginning.
template <class V>
struct Scratch {
  WidebandFrame<V> frame;
  V kept[sizeof(WidebandState<V>) / sizeof(V)];
  V pcm[speex::kWidebandFrame];
  Fields<V> fields;
};

template <class V>
constexpr int kStateFloats = sizeof(WidebandState<V>) / sizeof(V);

template <class V>
WidebandState<V> &state_of(float *group) {
  return *reinterpret_cast<WidebandState<V> *>(group);
}

template <class V>
void reset(float *group, int lane) {
  WidebandState<F32x1> fresh;
  reset_wideband(fresh);
  const float *values = reinterpret_cast<const float *>(&fresh);
  for (int i = 0; i < kStateFloats<V>; ++i) {
    group[i * V::kLanes + lane] = values[i];
  }
}

template <class V>
void forget(float *group, int lane) {
  float *bounded = reinterpret_cast<float *>(&state_of<V>(group).low.bounded);
  bounded[lane] = 1.0f;
}

template <class V, class W>
void analyse(float *group, void *scratch_memory, const int16_t *const *pcm, bool wideband, bool open_loop) {
  [[maybe_unused]] const FloatEnvironment environment;
  Scratch<V> &scratch = *static_cast<Scratch<V> *>(scratch_memory);
  gather_samples(pcm, wideband ? speex::kWidebandFrame : speex::kNarrowbandFrame, scratch.pcm);
  WidebandState<V> &state = state_of<V>(group);
  if (wideband) {
    analyse_wideband<V, W>(state, scratch.frame, scratch.pcm, open_loop);
  } else {
    analyse_narrowband<V, W>(state.low, scratch.frame.low, scratch.pcm, false, open_loop);
    scratch.frame.high_rms = scratch.frame.low_rms = splat<V>(0.0f);
  }
}

template <class V>
float lane_value(const V &v, int lane) {
  return reinterpret_cast<const float *>(&v)[lane];
}

template <class V>
void features(const void *scratch_memory, int lane, speex::FrameFeatures *out) {
  const WidebandFrame<V> &frame = static_cast<const Scratch<V> *>(scratch_memory)->frame;
  out->first_half_energy = lane_value(frame.low.half_energy[0], lane);
  out->second_half_energy = lane_value(frame.low.half_energy[1], lane);
  out->voicing = lane_value(frame.low.open_loop.gain, lane);
  out->high_rms = lane_value(frame.high_rms, lane);
  out->low_rms = lane_value(frame.low_rms, lane);
  for (int i = 0; i < kOrder; ++i) {
    out->lsp[i] = lane_value(frame.low.lsp[i], lane);
  }
}

template <class V, class W>
void code(float *group, void *scratch_memory, int mode, int high_mode, bool wideband, bool dtx_hint,
          const uint8_t *active, speex::FrameFields *out) {
  [[maybe_unused]] const FloatEnvironment environment;
  Scratch<V> &scratch = *static_cast<Scratch<V> *>(scratch_memory);
  WidebandState<V> &state = state_of<V>(group);
  constexpr int kLanes = V::kLanes;
  if (active != nullptr) {
    __builtin_memcpy(scratch.kept, group, sizeof scratch.kept);
  }
  scratch.fields.count = 0;
  if (wideband) {
    code_wideband<V, W>(state, scratch.frame, mode, high_mode, dtx_hint, scratch.fields);
  } else {
    LowBand<V> *none = nullptr;
    code_narrowband<V, W>(state.low, scratch.frame.low, mode, dtx_hint, scratch.fields, none);
  }
  if (active != nullptr) {
    const float *kept = reinterpret_cast<const float *>(scratch.kept);
    for (int i = 0; i < kStateFloats<V>; ++i) {
      for (int lane = 0; lane < kLanes; ++lane) {
        group[i * kLanes + lane] = active[lane] ? group[i * kLanes + lane] : kept[i * kLanes + lane];
      }
    }
  }
  out->count = scratch.fields.count;
  for (int f = 0; f < out->count; ++f) {
    out->width[f] = scratch.fields.width[f];
    store(out->value + f * kLanes, scratch.fields.value[f]);
  }
}

template <class V, class W>
constexpr speex::SpeexKernel make_kernel(cr_isa isa) {
  return {isa,           V::kLanes,   kStateFloats<V>, sizeof(Scratch<V>), reset<V>,
          analyse<V, W>, features<V>, code<V, W>,      forget<V>};
}

}  // namespace

using speex::SpeexKernel;
CR_DEFINE_KERNELS(SpeexKernel, speex, (make_kernel<F32, F32>), (make_kernel<F32x1, F32x1>))
CR_DEFINE_KERNELS(SpeexKernel, speex_single, (make_kernel<F32x1, F32>), (make_kernel<F32x1, F32x1>))

}  // namespace callreplay::CR_ISA
