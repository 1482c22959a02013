// Handles in every hand: memory that runs out at any allocation, and threads that share one handle.
#include <doctest/doctest.h>

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>
#include <thread>

#include "callreplay/callreplay.h"
#include "legs.h"
#include "watched.h"

using callreplay::test::eventful_leg;
using callreplay::test::MadeLeg;

namespace {

// Allocations until one fails; below 0: none does. `for_ever`: and so do all after it.
std::atomic<long> left{-1};
std::atomic<bool> for_ever{false};
std::atomic<bool> failed{false};

bool fails() {
  if (failed && for_ever) {
    return true;
  }
  if (left < 0 || left-- != 0) {
    return false;
  }
  return failed = true;
}

void *allocate(size_t size, size_t alignment) {
  if (fails()) {
    return nullptr;
  }
  const size_t rounded = (size + alignment - 1) / alignment * alignment;
  return std::aligned_alloc(alignment, rounded == 0 ? alignment : rounded);
}

void *allocate_or_throw(size_t size, size_t alignment) {
  void *memory = allocate(size, alignment);
  if (memory == nullptr) {
    throw std::bad_alloc();
  }
  return memory;
}

constexpr size_t kDefault = alignof(max_align_t);

}  // namespace

void *operator new(size_t size) {
  return allocate_or_throw(size, kDefault);
}
void *operator new[](size_t size) {
  return allocate_or_throw(size, kDefault);
}
void *operator new(size_t size, std::align_val_t alignment) {
  return allocate_or_throw(size, static_cast<size_t>(alignment));
}
void *operator new[](size_t size, std::align_val_t alignment) {
  return allocate_or_throw(size, static_cast<size_t>(alignment));
}
void *operator new(size_t size, const std::nothrow_t &) noexcept {
  return allocate(size, kDefault);
}
void *operator new[](size_t size, const std::nothrow_t &) noexcept {
  return allocate(size, kDefault);
}
void operator delete(void *memory) noexcept {
  std::free(memory);
}
void operator delete[](void *memory) noexcept {
  std::free(memory);
}
void operator delete(void *memory, size_t) noexcept {
  std::free(memory);
}
void operator delete[](void *memory, size_t) noexcept {
  std::free(memory);
}
void operator delete(void *memory, std::align_val_t) noexcept {
  std::free(memory);
}
void operator delete[](void *memory, std::align_val_t) noexcept {
  std::free(memory);
}
void operator delete(void *memory, size_t, std::align_val_t) noexcept {
  std::free(memory);
}
void operator delete[](void *memory, size_t, std::align_val_t) noexcept {
  std::free(memory);
}

namespace {

// What a handle answers: CR_OK until its first CR_MEMORY, CR_STATE from then on. Nothing is checked at once,
// for doctest allocates too.
class Answers {
 public:
  bool ok(cr_status status) {
    right_ = right_ && (out_ ? status == CR_STATE : status == CR_OK || status == CR_MEMORY);
    out_ = out_ || status == CR_MEMORY;
    return status == CR_OK;
  }
  // Of the function that makes the handle.
  bool made(cr_status status) {
    right_ = right_ && (status == CR_OK || status == CR_MEMORY);
    return status == CR_OK;
  }
  bool right() const { return right_; }

 private:
  bool out_ = false, right_ = true;
};

// Runs `scenario` with its first, second, ... allocation failing, until it has no more of them. Each run ends
// with every handle destroyed, so that the sanitizers see what is lost or touched.
template <class Scenario>
void fail_each(Scenario &&scenario) {
  for (const bool stays : {false, true}) {
    CAPTURE(stays);
    long at = 0;
    for (;; ++at) {
      Answers answers;
      for_ever = stays;
      failed = false;
      left = at;
      scenario(answers);
      left = -1;
      const bool reached = failed;
      for_ever = failed = false;
      if (!answers.right()) {
        FAIL("wrong status after allocation " << at);
      }
      if (!reached) {
        break;
      }
    }
    CHECK(at > 0);
  }
}

struct TwoSides {
  std::vector<MadeLeg> made;
  std::vector<cr_leg> views;
  std::vector<cr_render_leg> legs;
  std::vector<cr_event> events{{0, 5, 300'000'000, 200'000'000, -10}, {1, -1, 900'000'000, 100'000'000, 0}};
  cr_timeline timeline{8000, 2, 0, 40000, 120, 0};

  explicit TwoSides(uint64_t seed = 1) {
    for (const cr_codec codec : {CR_CODEC_ULAW, CR_CODEC_G722, CR_CODEC_G729, CR_CODEC_G726}) {
      made.push_back(eventful_leg(codec, seed++, checkasm::watched() ? 30 : 60));
    }
    made[0].spans[0].drift_ppb = 40'000;
    made[1].spans[0].drift_ppb = -30'000;
    made[2].spans[0].drift_ppb = 5'000'000;
    for (const MadeLeg &leg : made) {
      views.push_back(leg.view());
    }
    for (size_t i = 0; i < views.size(); ++i) {
      legs.push_back({&views[i], static_cast<int32_t>(i % 2)});
    }
  }
};

const TwoSides &sides() {
  static const TwoSides both;
  return both;
}

const cr_speex_options kSpeex{16000, 8, 0, 0, 0, CR_SPEEX_SEGMENTS_LONG};
const cr_speex_options kSpeexVbr{8000, 8, 1, 1, 1, CR_SPEEX_SEGMENTS_OFF};

std::vector<int16_t> noise(size_t count) {
  callreplay::test::Random random{9};
  std::vector<int16_t> pcm(count);
  for (int16_t &sample : pcm) {
    sample = static_cast<int16_t>(random.next());
  }
  return pcm;
}

}  // namespace

TEST_CASE("a conveyor whose memory runs out") {
  const TwoSides &call = sides();
  fail_each([&](Answers &answers) {
    cr_conveyor *conveyor = nullptr;
    if (!answers.made(cr_conveyor_create(3, 120, &conveyor))) {
      return;
    }
    for (const cr_leg &leg : call.views) {
      answers.ok(cr_conveyor_add(conveyor, &leg));
    }
    for (int round = 0; round < 12; ++round) {
      const cr_chunk *chunks = nullptr;
      size_t count = 0;
      answers.ok(cr_conveyor_step(conveyor, &chunks, &count));
    }
    cr_leg_counts counts;
    answers.ok(cr_conveyor_counts(conveyor, 0, &counts));
    cr_occupancy occupancy;
    answers.ok(cr_conveyor_occupancy(conveyor, &occupancy));
    cr_conveyor_destroy(conveyor);
  });
}

TEST_CASE("a renderer whose memory runs out") {
  const TwoSides &call = sides();
  std::vector<int16_t> pcm(2 * 9000);
  fail_each([&](Answers &answers) {
    cr_renderer *renderer = nullptr;
    if (!answers.made(cr_renderer_create(&call.timeline, call.legs.data(), call.legs.size(),
                                         call.events.data(), call.events.size(), &renderer))) {
      return;
    }
    size_t frames = 0;
    answers.ok(cr_renderer_read(renderer, pcm.data(), 9000, &frames));
    answers.ok(cr_renderer_seek(renderer, 20000));
    answers.ok(cr_renderer_read(renderer, pcm.data(), 3000, &frames));
    answers.ok(cr_renderer_seek(renderer, 0));
    answers.ok(cr_renderer_read(renderer, pcm.data(), 300, &frames));
    cr_leg_counts counts;
    answers.ok(cr_renderer_counts(renderer, 1, &counts));
    cr_renderer_position(renderer);
    cr_renderer_destroy(renderer);
  });
}

TEST_CASE("a group of renderers whose memory runs out") {
  const TwoSides &call = sides();
  std::vector<int16_t> pcm(2 * 8000);
  fail_each([&](Answers &answers) {
    cr_renderer_group *group = nullptr;
    if (!answers.made(cr_renderer_group_create(500, &group))) {
      return;
    }
    uint32_t number = 0;
    size_t frames = 0;
    int last = 0;
    cr_timeline timeline = call.timeline;
    timeline.frames = 12000;
    for (int round = 0; round < 3; ++round) {
      answers.ok(cr_renderer_group_add(group, &timeline, call.legs.data(), call.legs.size(),
                                       call.events.data(), call.events.size(), &number));
      answers.ok(cr_renderer_group_read(group, pcm.data(), pcm.size(), &number, &frames, &last));
    }
    for (int round = 0; round < 10; ++round) {
      answers.ok(cr_renderer_group_read(group, pcm.data(), pcm.size(), &number, &frames, &last));
    }
    cr_occupancy occupancy;
    answers.ok(cr_renderer_group_occupancy(group, &occupancy));
    size_t waiting = 0;
    answers.ok(cr_renderer_group_waiting(group, &waiting));
    cr_leg_counts counts;
    answers.ok(cr_renderer_group_counts(group, 0, 0, &counts));
    cr_renderer_group_destroy(group);
  });
}

TEST_CASE("a mixer whose memory runs out") {
  const TwoSides &call = sides();
  const std::vector<int16_t> pcm = noise(4000);
  std::vector<int16_t> out(2 * 4000);
  fail_each([&](Answers &answers) {
    cr_mixer *mixer = nullptr;
    if (!answers.made(cr_mixer_create(&call.timeline, call.events.data(), call.events.size(), &mixer))) {
      return;
    }
    size_t moved = 0;
    const int64_t drifts[] = {0, 40'000, 9'000'000};
    for (uint32_t i = 0; i < 6; ++i) {
      uint32_t track = i;
      answers.ok(cr_mixer_add_track(mixer, i, static_cast<int32_t>(i % 2), i < 3 ? 8000 : 16000, 0,
                                    drifts[i % 3], &track));
    }
    for (uint32_t i = 0; i < 6; ++i) {
      const cr_status status = cr_mixer_push(mixer, i, 0, pcm.data(), pcm.size(), &moved);
      if (status != CR_ARGUMENT) {  // there is no such track
        answers.ok(status);
      }
    }
    answers.ok(cr_mixer_read(mixer, out.data(), 4000, &moved));
    const cr_status status = cr_mixer_finish(mixer, 0);
    if (status != CR_ARGUMENT) {
      answers.ok(status);
    }
    cr_mixer_position(mixer);
    cr_mixer_destroy(mixer);
  });
}

TEST_CASE("peaks whose memory runs out") {
  const std::vector<int16_t> pcm = noise(4000);
  std::vector<uint8_t> pixels(64 * 64);
  const cr_band band{pixels.data(), 64, 0, 0, 8, 64, 16, 1, 17, 1.0};
  std::vector<uint8_t> packed(cr_png_room(64, 64));
  fail_each([&](Answers &answers) {
    for (const bool fit : {false, true}) {
      Answers mine;
      cr_peaks *peaks = nullptr;
      if (!answers.made(fit ? cr_peaks_create_fit(2, 9000, 32, &peaks) : cr_peaks_create(2, 100, &peaks))) {
        return;
      }
      for (int i = 0; i < 4; ++i) {
        mine.ok(cr_peaks_write(peaks, pcm.data(), pcm.size() / 2));
      }
      const cr_peak *data = cr_peaks_data(peaks);
      if (data != nullptr && cr_peaks_count(peaks) >= 8) {
        answers.made(cr_draw_band(&band, data, 2, 1));
      }
      const double start = 0.0, stop = 0.5;
      const uint8_t loss = 1;
      const cr_marks marks{&start, &stop, &loss, 1, 2, 3, 4};
      answers.made(cr_draw_marks(&band, &marks));
      size_t size = 0;
      answers.made(cr_png_pack(pixels.data(), 64, 64, 64, packed.data(), packed.size(), &size));
      cr_peaks_destroy(peaks);
      answers.made(mine.right() ? CR_OK : CR_STATE);
    }
  });
}

TEST_CASE("detectors of speech whose memory runs out") {
  std::vector<int16_t> pcm = noise(16'000);
  for (size_t n = 0; n < pcm.size(); ++n) {
    if (n / 1000 % 2 != 0) {
      pcm[n] = 0;  // so that talk begins and ends
    }
  }
  fail_each([&](Answers &answers) {
    cr_speech *one = nullptr, *two = nullptr;
    if (!answers.made(cr_speech_create(8000, &one))) {
      return;
    }
    if (!answers.made(cr_speech_create(8000, &two))) {
      cr_speech_destroy(one);
      return;
    }
    answers.ok(cr_speech_write_pair(one, two, pcm.data(), pcm.size() / 2, 2));
    answers.ok(cr_speech_write(one, pcm.data(), pcm.size()));
    answers.ok(cr_speech_finish(one));
    cr_talk talk[8];
    size_t count = 0;
    int64_t sample = 0;
    answers.ok(cr_speech_take(one, talk, 8, &count));
    answers.ok(cr_speech_settled(one, &sample));
    cr_speech_destroy(one);
    cr_speech_destroy(two);
  });
}

TEST_CASE("Speex streams whose memory runs out") {
  const std::vector<int16_t> pcm = noise(3000);
  const char *comments[] = {"TITLE=a call"};
  fail_each([&](Answers &answers) {
    cr_speex_batch *batch = nullptr;
    if (!answers.made(cr_speex_batch_create(&batch))) {
      return;
    }
    cr_speex_stream *streams[3] = {};
    size_t made = 0;
    bool whole = true;  // until then
    for (; made < 3; ++made) {
      if (!answers.made(
              cr_speex_stream_create(made == 0 ? &kSpeexVbr : &kSpeex, 1, comments, 1, &streams[made]))) {
        break;
      }
      whole = answers.made(cr_speex_stream_push(streams[made], pcm.data(), pcm.size())) && whole;
    }
    const cr_status status = cr_speex_encode(batch, streams, made);
    cr_status first = CR_OK;
    for (size_t i = 0; i < made; ++i) {
      // A stream in which memory ran out stays out; those of a batch all go with it, or none.
      const cr_status ended = cr_speex_stream_end(streams[i]);
      first = i == 0 ? ended : first;
      answers.made(ended == CR_STATE ? CR_OK : ended);
      answers.made(status == CR_MEMORY && whole && ended != first ? CR_ARGUMENT : CR_OK);
      size_t size = 0;
      cr_speex_stream_octets(streams[i], &size);
      cr_speex_stream_drop(streams[i], size);
    }
    const cr_status again = cr_speex_encode(batch, streams, made);
    answers.made(status == CR_MEMORY ? (again == CR_STATE ? CR_OK : CR_ARGUMENT)
                                     : (again == CR_STATE ? CR_OK : again));
    for (size_t i = 0; i < made; ++i) {
      cr_speex_stream_destroy(streams[i]);
    }
    cr_speex_batch_destroy(batch);
  });
}

namespace {

// `work(thread, turn)` by four threads at once: each time it is served, or told that another one is there.
template <class Work>
void hammer(int turns, Work &&work) {
  std::atomic<int> wrong{0}, served{0};
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&, thread] {
      for (int turn = 0; turn < turns; ++turn) {
        const cr_status status = work(thread, turn);
        wrong += status != CR_OK && status != CR_STATE;
        served += status == CR_OK;
      }
    });
  }
  for (std::thread &thread : threads) {
    thread.join();
  }
  CHECK(wrong == 0);
  CHECK(served > 0);
}

}  // namespace

TEST_CASE("threads that share a conveyor") {
  const TwoSides &call = sides();
  cr_conveyor *conveyor = nullptr;
  REQUIRE(cr_conveyor_create(3, 120, &conveyor) == CR_OK);
  REQUIRE(cr_conveyor_add(conveyor, &call.views[0]) == CR_OK);
  hammer(60, [&](int thread, int turn) {
    const cr_chunk *chunks = nullptr;
    size_t count = 0;
    cr_leg_counts counts;
    cr_occupancy occupancy;
    switch ((thread + turn) % 4) {
      case 0:
        return cr_conveyor_add(conveyor, &call.views[static_cast<size_t>(turn) % 4]);
      case 1:
        return cr_conveyor_counts(conveyor, 0, &counts);
      case 2:
        return cr_conveyor_occupancy(conveyor, &occupancy);
      default:
        return cr_conveyor_step(conveyor, &chunks, &count);
    }
  });
  cr_conveyor_destroy(conveyor);
}

TEST_CASE("threads that share a renderer") {
  const TwoSides &call = sides();
  cr_renderer *renderer = nullptr;
  REQUIRE(cr_renderer_create(&call.timeline, call.legs.data(), call.legs.size(), call.events.data(),
                             call.events.size(), &renderer) == CR_OK);
  hammer(60, [&](int thread, int turn) {
    std::vector<int16_t> pcm(2 * 900);
    size_t frames = 0;
    cr_leg_counts counts;
    cr_renderer_position(renderer);
    switch ((thread + turn) % 3) {
      case 0:
        return cr_renderer_seek(renderer, turn * 100);
      case 1:
        return cr_renderer_counts(renderer, 1, &counts);
      default:
        return cr_renderer_read(renderer, pcm.data(), 900, &frames);
    }
  });
  cr_renderer_destroy(renderer);
}

TEST_CASE("threads that share a group of renderers") {
  const TwoSides &call = sides();
  cr_renderer_group *group = nullptr;
  REQUIRE(cr_renderer_group_create(100, &group) == CR_OK);
  uint32_t first = 0;
  REQUIRE(cr_renderer_group_add(group, &call.timeline, call.legs.data(), call.legs.size(), call.events.data(),
                                call.events.size(), &first) == CR_OK);
  hammer(40, [&](int thread, int turn) {
    std::vector<int16_t> pcm(2 * 900);
    uint32_t number = 0;
    size_t frames = 0;
    int last = 0;
    cr_leg_counts counts;
    cr_occupancy occupancy;
    size_t waiting = 0;
    switch ((thread + turn) % 5) {
      case 4:
        return cr_renderer_group_waiting(group, &waiting);
      case 0:
        return cr_renderer_group_add(group, &call.timeline, call.legs.data(), call.legs.size(),
                                     call.events.data(), call.events.size(), &number);
      case 1:
        return cr_renderer_group_counts(group, 0, 0, &counts);
      case 2:
        return cr_renderer_group_occupancy(group, &occupancy);
      default:
        return cr_renderer_group_read(group, pcm.data(), pcm.size(), &number, &frames, &last);
    }
  });
  cr_renderer_group_destroy(group);
}

TEST_CASE("threads that share a mixer") {
  const std::vector<int16_t> pcm = noise(500);
  cr_mixer *mixer = nullptr;
  const cr_timeline timeline{8000, 1, 0, 1 << 20, 120, 0};
  uint32_t track = 0;
  REQUIRE(cr_mixer_create(&timeline, nullptr, 0, &mixer) == CR_OK);
  REQUIRE(cr_mixer_add_track(mixer, 0, 0, 8000, 0, 50'000, &track) == CR_OK);
  hammer(400, [&](int thread, int turn) {
    int16_t out[300];
    size_t moved = 0;
    uint32_t added = 0;
    cr_mixer_position(mixer);
    switch ((thread + turn) % 4) {
      case 0:
        return turn < 20 ? cr_mixer_add_track(mixer, 1, 0, 16000, 0, 0, &added) : CR_OK;
      case 1:
        return cr_mixer_read(mixer, out, 300, &moved);
      case 2:
        return turn == 399 ? cr_mixer_finish(mixer, track) : CR_OK;
      default:
        return cr_mixer_push(mixer, track, turn * 100, pcm.data(), pcm.size(), &moved);
    }
  });
  cr_mixer_destroy(mixer);
}

TEST_CASE("threads that share peaks") {
  const std::vector<int16_t> pcm = noise(500);
  cr_peaks *peaks = nullptr;
  REQUIRE(cr_peaks_create(1, 10, &peaks) == CR_OK);
  hammer(300, [&](int, int) {
    cr_peaks_count(peaks);
    cr_peaks_data(peaks);
    return cr_peaks_write(peaks, pcm.data(), pcm.size());
  });
  cr_peaks_destroy(peaks);
}

TEST_CASE("threads that share detectors of speech") {
  const std::vector<int16_t> pcm = noise(500);
  cr_speech *one = nullptr, *two = nullptr;
  REQUIRE(cr_speech_create(8000, &one) == CR_OK);
  REQUIRE(cr_speech_create(8000, &two) == CR_OK);
  hammer(300, [&](int thread, int turn) {
    cr_talk talk[4];
    size_t count = 0;
    int64_t sample = 0;
    switch ((thread + turn) % 4) {
      case 0:
        return cr_speech_write_pair(one, two, pcm.data(), pcm.size() / 2, 2);
      case 1:
        return cr_speech_write_pair(two, one, pcm.data(), pcm.size() / 2, 2);
      case 2:
        return cr_speech_take(one, talk, 4, &count);
      default:
        return turn == 299 ? cr_speech_finish(two) : cr_speech_settled(two, &sample);
    }
  });
  cr_speech_destroy(one);
  cr_speech_destroy(two);
}

TEST_CASE("threads that share Speex streams and a batch") {
  const std::vector<int16_t> pcm = noise(700);
  cr_speex_stream *streams[2] = {};
  cr_speex_batch *batches[2] = {};
  for (int i = 0; i < 2; ++i) {
    REQUIRE(cr_speex_stream_create(i == 0 ? &kSpeex : &kSpeexVbr, 1, nullptr, 0, &streams[i]) == CR_OK);
    REQUIRE(cr_speex_batch_create(&batches[i]) == CR_OK);
  }
  hammer(20, [&](int thread, int turn) {
    size_t size = 0;
    switch ((thread + turn) % 3) {
      case 0:
        return cr_speex_stream_push(streams[turn % 2], pcm.data(), pcm.size());
      case 1:
        cr_speex_stream_octets(streams[0], &size);
        cr_speex_stream_drop(streams[0], size);
        return CR_OK;
      default:
        return cr_speex_encode(batches[thread % 2], streams, 2);
    }
  });
  CHECK(cr_speex_stream_end(streams[0]) == CR_OK);
  cr_speex_stream *twice[] = {streams[1], streams[1]};
  CHECK(cr_speex_encode(batches[0], twice, 2) == CR_STATE);
  CHECK(cr_speex_encode(batches[0], streams, 2) == CR_OK);
  for (int i = 0; i < 2; ++i) {
    cr_speex_stream_destroy(streams[i]);
    cr_speex_batch_destroy(batches[i]);
  }
}
