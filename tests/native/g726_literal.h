// G.726's decoder block by block as clause 4.2 of the recommendation words it: unsigned words of stated
// widths, signed magnitudes and masks, one sample at a time, no trick. The law of the lanes is held against
// this, and this against libspandsp, which is exact to the ITU's sequences.
#pragma once

#include <array>
#include <cstdint>

namespace literal726 {

struct Rate {
  int bits;
  std::array<int, 16> dqln, wi, fi;  // by magnitude; DQLN as 12 bits, WI as 12 bits
};

inline const Rate &rate_of(int bits) {
  static const Rate rates[] = {
      {2, {116, 365}, {4074, 439}, {0, 7}},
      {3, {2048, 135, 273, 373}, {4092, 30, 137, 582}, {0, 1, 2, 7}},
      {4,
       {2048, 4, 135, 213, 273, 323, 373, 425},
       {4084, 18, 41, 64, 112, 198, 355, 1122},
       {0, 0, 0, 1, 1, 1, 3, 7}},
      {5,
       {2048, 4030, 28, 104, 169, 224, 274, 318, 358, 395, 429, 459, 488, 514, 539, 566},
       {14, 14, 24, 39, 40, 41, 58, 100, 141, 179, 219, 280, 358, 440, 529, 696},
       {0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 3, 4, 5, 6, 6}},
  };
  return rates[bits - 2];
}

// A word of `width` bits as a signed number.
inline int64_t signed_word(int64_t word, int width) {
  return (word >> (width - 1) & 1) != 0 ? word - (int64_t{1} << width) : word;
}

class Decoder {
 public:
  explicit Decoder(int bits) : rate_(rate_of(bits)) {}

  // SR, before anything is done to it for an output: 16 bits.
  int decode(int code) {
    const int top = 1 << (rate_.bits - 1), all = 2 * top - 1;
    const int dqs = code >= top ? 1 : 0;
    const auto im = static_cast<size_t>(dqs != 0 ? all - code : code);

    // FMULT, ACCUM
    int64_t sezi = 0;
    for (int n = 5; n >= 0; --n) sezi = (sezi + fmult(b_[n], dq_[n])) & 65535;
    const int64_t sei = (sezi + fmult(a_[1], sr_[1]) + fmult(a_[0], sr_[0])) & 65535;
    const int64_t sez = sezi >> 1, se = sei >> 1;  // 15 bits

    // LIMA, MIX
    const int64_t al = ap_ >= 256 ? 64 : ap_ >> 2;
    const int64_t dif = (yu_ + 16384 - (yl_ >> 6)) & 16383;
    const int64_t difm = dif >> 13 == 0 ? dif : (16384 - dif) & 8191;
    const int64_t prodm = difm * al >> 6;
    const int64_t y = ((yl_ >> 6) + (dif >> 13 == 0 ? prodm : (16384 - prodm) & 16383)) & 8191;

    // ADDA, ANTILOG
    const int64_t dql = (rate_.dqln[im] + (y >> 2)) & 4095;
    const int64_t dex = dql >> 7 & 15, dqt = 128 + (dql & 127);
    const int64_t dqmag = dql >> 11 != 0 ? 0 : (dqt << 7) >> (14 - dex);

    // TRANS
    const int64_t ylint = yl_ >> 15, thr1 = (32 + (yl_ >> 10 & 31)) << ylint;
    const int64_t thr2 = ylint > 9 ? 31 << 10 : thr1;
    const bool tr = dqmag > (thr2 + (thr2 >> 1)) >> 1 && td_;

    // ADDB, ADDC
    const int64_t dqi = dqs == 0 ? dqmag : (65536 - dqmag) & 65535;
    const int64_t sr = (dqi + (signed_word(se, 15) & 65535)) & 65535;
    const int64_t dqsez = (dqi + (signed_word(sez, 15) & 65535)) & 65535;
    const int pk0 = static_cast<int>(dqsez >> 15);
    const bool sigpk = dqsez == 0;

    // UPA2, LIMC
    const int64_t a1 = signed_word(a_[0], 16), a2 = signed_word(a_[1], 16);
    const int64_t fa1 = 4 * (a1 > 8191 ? 8191 : a1 < -8191 ? -8191 : a1);
    const int64_t uga2 = (pk0 == pk_[1] ? 16384 : -16384) + (pk0 != pk_[0] ? fa1 : -fa1);
    int64_t a2p = a2 + (sigpk ? 0 : uga2 >> 7) - (a2 >> 7);
    a2p = a2p > 12288 ? 12288 : a2p < -12288 ? -12288 : a2p;
    // UPA1, LIMD
    int64_t a1p = a1 + (sigpk ? 0 : pk0 == pk_[0] ? 192 : -192) - (a1 >> 8);
    const int64_t a1ul = 15360 - a2p;
    a1p = a1p > a1ul ? a1ul : a1p < -a1ul ? -a1ul : a1p;
    // TONE
    const bool tdp = a2p < -11776;

    // XOR, UPB
    for (int n = 0; n < 6; ++n) {
      const int u = dqs ^ static_cast<int>(dq_[n] >> 10);
      const int64_t ugb = dqmag == 0 ? 0 : u == 0 ? 128 : -128;
      const int64_t bn = signed_word(b_[n], 16);
      b_[n] = tr ? 0 : (bn + ugb - (bn >> (rate_.bits == 5 ? 9 : 8))) & 65535;
    }
    a_[0] = tr ? 0 : a1p & 65535;
    a_[1] = tr ? 0 : a2p & 65535;
    td_ = !tr && tdp;
    pk_[1] = pk_[0];
    pk_[0] = pk0;

    // FLOATA, FLOATB
    for (int n = 5; n > 0; --n) dq_[n] = dq_[n - 1];
    dq_[0] = floated(dqs, dqmag);
    sr_[1] = sr_[0];
    sr_[0] = floated(static_cast<int>(sr >> 15), sr >> 15 == 0 ? sr : (65536 - sr) & 32767);

    // FILTA, FILTB, SUBTC, FILTC, TRIGA
    const int64_t fi = rate_.fi[im];
    dms_ = (dms_ + (signed_word(((fi << 9) + 8192 - dms_) & 8191, 13) >> 5)) & 4095;
    dml_ = (dml_ + (signed_word(((fi << 11) + 32768 - dml_) & 32767, 15) >> 7)) & 16383;
    const int64_t apart = signed_word(((dms_ << 2) + 32768 - dml_) & 32767, 15);
    const bool ax = !(y >= 1536 && (apart < 0 ? -apart : apart) < dml_ >> 3 && !tdp);
    const int64_t app = (ap_ + (signed_word(((ax ? 512 : 0) + 2048 - ap_) & 2047, 11) >> 4)) & 1023;
    ap_ = tr ? 256 : app;

    // FILTD, LIMB, FILTE
    const int64_t wi = signed_word(rate_.wi[im], 12);
    const int64_t yut = (y + (signed_word(((wi << 5) + 131072 - y) & 131071, 17) >> 5)) & 8191;
    yu_ = yut < 544 ? 544 : yut > 5120 ? 5120 : yut;
    yl_ = (yl_ + signed_word((yu_ + ((1048576 - yl_) >> 6)) & 16383, 14)) & 524287;
    return static_cast<int>(signed_word(sr, 16));
  }

  // Annex A: 14 bits, here at the top of 16.
  int16_t linear(int code) {
    const int sr = decode(code);
    return static_cast<int16_t>(4 * (sr > 8191 ? 8191 : sr < -8192 ? -8192 : sr));
  }

 private:
  static int exponent_of(int64_t magnitude) {
    int exponent = 0;
    while (magnitude >> exponent != 0) ++exponent;
    return exponent;
  }
  // Sign, 4 bits of exponent, 6 of mantissa.
  static int64_t floated(int sign, int64_t magnitude) {
    const int exponent = exponent_of(magnitude);
    return int64_t{sign} << 10 | exponent << 6 | (magnitude == 0 ? 32 : (magnitude << 6) >> exponent);
  }
  static int64_t fmult(int64_t an, int64_t srn) {
    const int ans = static_cast<int>(an >> 15);
    const int64_t anmag = ans == 0 ? an >> 2 : (16384 - (an >> 2)) & 8191;
    const int anexp = exponent_of(anmag);
    const int64_t anmant = anmag == 0 ? 32 : (anmag << 6) >> anexp;
    const int64_t wanmant = ((srn & 63) * anmant + 48) >> 4;
    const auto wanexp = static_cast<int>((srn >> 6 & 15) + anexp);
    const int64_t wanmag =
        wanexp <= 26 ? (wanmant << 7) >> (26 - wanexp) : ((wanmant << 7) << (wanexp - 26)) & 32767;
    return (static_cast<int>(srn >> 10) ^ ans) == 0 ? wanmag : (65536 - wanmag) & 65535;
  }

  const Rate &rate_;
  std::array<int64_t, 6> b_{}, dq_{32, 32, 32, 32, 32, 32};
  std::array<int64_t, 2> a_{}, sr_{32, 32};
  std::array<int, 2> pk_{};
  int64_t yu_ = 544, yl_ = 34816, dms_ = 0, dml_ = 0, ap_ = 0;
  bool td_ = false;
};

}  // namespace literal726
