// G.729 ahead of time: a long round of few streams in many lanes. Each stream's frames are cut into pieces, a lane
// each. The lane of a piece begins some frames before it, with a state that is not that of the stream there; by the
// first frame of the piece the two have come together, for a decoder forgets. Whether they have is looked at: the
// state with which the lane of the piece before ended is the stream's, to the last bit. Where they have not, the
// piece is decoded once more from there. So the samples are those of one lane, whatever the stream.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "conveyor/choice.h"
#include "decode/leg/cursor.h"

namespace callreplay {

// The generator of concealment behind frames `from` to `to`.
uint16_t seed_behind(const std::vector<FramePlan> &frames, size_t from, size_t to, uint16_t seed);

struct AheadStream {
  SpanCursor *cursor;  // its frames are decoded
  uint64_t *state;     // of the stream: before the first of them, then behind the last
  uint16_t seed;       // of the generator of concealment before the first of them
  size_t again = 0;    // pieces that had to be decoded once more
};

class Ahead {
 public:
  explicit Ahead(ChoiceOf<G729Kernel> choice) : choice_(choice) {}

  // Whether `streams` streams of `frames` frames at most are decoded for clearly less in this way.
  bool pays(size_t streams, size_t frames) {
    best_ = best(streams, frames);
    return best_ != kNone;
  }
  struct Done {
    int lanes, used;
    size_t rounds;  // calls of the kernel
    size_t pieces;  // of each stream
  };
  // Of what was asked about last, where that pays.
  Done decode(std::vector<AheadStream> &streams);

 private:
  struct Piece {
    size_t stream;
    size_t from, begin, end;  // frames: decoded from `from` on, heard from `begin` to `end`
  };
  static constexpr size_t kNone = static_cast<size_t>(-1);

  size_t best(size_t streams, size_t frames) const;
  void cut(const std::vector<AheadStream> &streams, size_t count);
  size_t run(const G729Kernel &kernel, std::vector<AheadStream> &streams);
  void verify(const G729Kernel &kernel, std::vector<AheadStream> &streams, size_t count);
  void decode_again(const Piece &piece, AheadStream &stream);
  uint64_t *begun(size_t lane) { return begun_.data() + lane * words(); }
  size_t words() const { return state_words(*choice_->kernels[0]); }

  ChoiceOf<G729Kernel> choice_;
  size_t best_ = kNone;                  // the width of what was asked about last
  size_t width_ = kNone;                 // whose group stands
  std::unique_ptr<AlignedState> group_;  // of that width
  std::unique_ptr<AlignedState> single_;
  std::vector<Piece> pieces_;    // by lane
  std::vector<uint64_t> begun_;  // by lane, the state before the first frame that is heard
  std::vector<uint64_t> ended_;  // the state of one lane at its end
};

}  // namespace callreplay
