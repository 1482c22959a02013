#include "encode/speex/modes.h"

namespace callreplay::speex {

constinit const NarrowbandMode kNarrowband[kNarrowbandModes] = {
    {false, LongTerm::kNone, nullptr, 0, 0, nullptr, false, 5},
    {false, LongTerm::kSingleTap, nullptr, 0, 0, nullptr, false, 43},
    {false, LongTerm::kFrameLag, &kGain3Lbr, 5, 0, &kInnov10x16, false, 119},
    {false, LongTerm::kSubframeLag, &kGain3Lbr, 5, 1, &kInnov10x32, false, 160},
    {false, LongTerm::kSubframeLag, &kGain3Lbr, 5, 1, &kInnov8x128, false, 220},
    {true, LongTerm::kSubframeLag, &kGain3Nb, 7, 3, &kInnov5x64, false, 300},
    {true, LongTerm::kSubframeLag, &kGain3Nb, 7, 3, &kInnov5x256, false, 364},
    {true, LongTerm::kSubframeLag, &kGain3Nb, 7, 3, &kInnov5x64, true, 492},
    {false, LongTerm::kSingleTap, nullptr, 0, 0, &kInnov20x32, false, 79},
};

constinit const HighbandMode kHighband[kHighbandModes] = {
    {false, nullptr, false, 4},
    {true, nullptr, false, 36},
    {false, &kInnovHigh10x32, false, 112},
    {false, &kInnovHigh8x128, false, 192},
    {false, &kInnovHigh8x128, true, 352},
};

constinit const int kQualityNarrowband[11] = {1, 8, 2, 3, 3, 4, 4, 5, 5, 6, 7};
constinit const int kQualityLowBand[11] = {1, 8, 2, 3, 4, 5, 5, 6, 6, 7, 7};
constinit const int kQualityHighBand[11] = {1, 1, 1, 1, 1, 1, 2, 2, 3, 3, 4};

}  // namespace callreplay::speex
