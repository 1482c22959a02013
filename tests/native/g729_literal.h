// A G.729 Annex A/B decoder written line by line with saturating operators, one sample after the other,
// without any of the kernels' shortcuts (un-doubled sums, packed pairs, guards). It is the test's second
// opinion: it shares the number tables with the kernels and nothing else.
#pragma once

#include <cstring>

#include "decode/g729/tables.h"
#include "decode/kernels.h"
#include "g729_operators.h"

namespace g729_literal {

using namespace callreplay::g729;

struct Fields {
  int l0, l1, l2, l3, p1, p0, c[2], s[2], ga[2], gb[2], p2;
  int sid_mode, sid_stage1, sid_stage2, sid_gain;
};

class Decoder {
 public:
  Decoder() {
    std::memcpy(lsp_old_, kLspInit, sizeof lsp_old_);
    std::memcpy(prev_lsf_, kLsfInit, sizeof prev_lsf_);
    std::memcpy(lsp_sid_, kLspSidInit, sizeof lsp_sid_);
    for (auto &row : lsf_mem_) std::memcpy(row, kLsfInit, sizeof row);
  }

  void decode(const callreplay::G729Frame &frame, int16_t *pcm) {
    int type = frame.type;
    const bool bfi = frame.erased;
    if (bfi) type = past_type_ == 1 ? 1 : 0;
    Fields f{};
    if (!bfi && type != 0) parse(frame.octets, type, &f);
    int lag[2] = {old_t0_, old_t0_};
    W a[2][11], syn[10 + 80];
    std::memcpy(syn, syn_hist_, sizeof syn_hist_);
    if (type == 1) {
      speech(f, bfi, lag, a, syn + 10);
    } else {
      noise(f, type, a, syn + 10);
    }
    if (!bfi) {
      L energy = 0;
      for (int n = 0; n < 80; ++n) energy = lmac(energy, exc(n), exc(n));
      const int h = norm32(energy);
      sid_sav_ = rnd(lshl(energy, h));
      sid_sh_ = 16 - h;
    }
    std::memmove(exc_, exc_ + 80, 154 * sizeof(W));
    for (int s = 0; s < 2; ++s) {
      W p[40];
      post_filter(a[s], syn + 10 + 40 * s, lag[s], type == 1, p);
      high_pass(p, pcm + 40 * s);
    }
    std::memcpy(syn_hist_, syn + 80, sizeof syn_hist_);
    past_type_ = type;
  }

  int resyntheses = 0;  // how often the overflow control of the synthesis struck

 private:
  W &exc(int n) { return exc_[154 + n]; }

  static void parse(const uint8_t *o, int type, Fields *f) {
    int at = 0;
    auto bits = [&](int count) {
      int v = 0;
      for (; count > 0; --count, ++at) v = v << 1 | ((o[at >> 3] >> (7 - (at & 7))) & 1);
      return v;
    };
    if (type == 1) {
      f->l0 = bits(1), f->l1 = bits(7), f->l2 = bits(5), f->l3 = bits(5);
      f->p1 = bits(8), f->p0 = bits(1), f->c[0] = bits(13), f->s[0] = bits(4), f->ga[0] = bits(3),
      f->gb[0] = bits(4);
      f->p2 = bits(5), f->c[1] = bits(13), f->s[1] = bits(4), f->ga[1] = bits(3), f->gb[1] = bits(4);
    } else {
      f->sid_mode = bits(1), f->sid_stage1 = bits(5), f->sid_stage2 = bits(4), f->sid_gain = bits(5);
    }
  }

  // 5.1
  static void space(W *b, int gap) {
    for (int j = 1; j < 10; ++j) {
      const int t = (b[j - 1] - b[j] + gap) >> 1;
      if (t > 0) {
        b[j - 1] = static_cast<W>(b[j - 1] - t);
        b[j] = static_cast<W>(b[j] + t);
      }
    }
  }

  void compose(const W *b, const int16_t *sum, const int16_t (*ma)[10], W *w) {
    for (int j = 0; j < 10; ++j) {
      L s = lmul(b[j], sum[j]);
      for (int k = 0; k < 4; ++k) s = lmac(s, lsf_mem_[k][j], ma[k][j]);
      w[j] = hi(s);
    }
  }

  void push_lsf(const W *b) {
    std::memmove(lsf_mem_[1], lsf_mem_[0], 3 * sizeof lsf_mem_[0]);
    std::memcpy(lsf_mem_[0], b, sizeof lsf_mem_[0]);
  }

  static void stabilise(W *w) {
    for (int j = 0; j < 9; ++j) {
      if (w[j + 1] < w[j]) {
        const W t = w[j];
        w[j] = w[j + 1];
        w[j + 1] = t;
      }
    }
    if (w[0] < 40) w[0] = 40;
    for (int j = 0; j < 9; ++j) {
      if (static_cast<L>(w[j + 1]) - w[j] < 321) w[j + 1] = add(w[j], 321);
    }
    if (w[9] > 25681) w[9] = 25681;
  }

  void decode_lsf(const Fields &f, bool bfi, W *w) {
    W b[10];
    if (!bfi) {
      for (int j = 0; j < 10; ++j) {
        b[j] = static_cast<W>(kLsfStage1[f.l1][j] + kLsfStage2[j < 5 ? f.l2 : f.l3][j]);
      }
      space(b, 10);
      space(b, 5);
      compose(b, kLsfMaSum[f.l0], kLsfMa[f.l0], w);
      push_lsf(b);
      stabilise(w);
      std::memcpy(prev_lsf_, w, sizeof prev_lsf_);
      prev_mode_ = f.l0;
    } else {
      std::memcpy(w, prev_lsf_, sizeof prev_lsf_);
      for (int j = 0; j < 10; ++j) {
        L s = static_cast<L>(prev_lsf_[j]) * 65536;
        for (int k = 0; k < 4; ++k) s = lmsu(s, lsf_mem_[k][j], kLsfMa[prev_mode_][k][j]);
        b[j] = hi(lshl(lmul(hi(s), kLsfMaSumInverse[prev_mode_][j]), 3));
      }
      push_lsf(b);
    }
  }

  // 5.2
  static void lsf_to_lsp(const W *w, W *lsp) {
    for (int j = 0; j < 10; ++j) {
      const W f = mul(w[j], 20861);
      const int i = (f >> 8) > 63 ? 63 : f >> 8;
      lsp[j] = add(kCos[i], low((static_cast<L>(kCosSlope[i]) * (f & 255)) >> 12));
    }
  }

  // 5.3
  static void polynomial(const W *p, L *f) {  // p[0], p[2], ... p[8]
    f[0] = 1 << 24;
    f[1] = -1024 * p[0];
    for (int i = 2; i <= 5; ++i) {
      const W q = p[2 * (i - 1)];
      f[i] = f[i - 2];
      for (int j = i; j >= 2; --j) {
        const L t = lshl(mpy32x16(f[j - 1], q), 1);
        f[j] = lsub(ladd(f[j], f[j - 2]), t);
      }
      f[1] = lmsu(f[1], q, 512);
    }
  }

  static void lsp_to_a(const W *q, W *a) {
    L f1[6], f2[6];
    polynomial(q, f1);
    polynomial(q + 1, f2);
    for (int i = 5; i >= 1; --i) {
      f1[i] = ladd(f1[i], f1[i - 1]);
      f2[i] = lsub(f2[i], f2[i - 1]);
    }
    a[0] = 4096;
    for (int i = 1; i <= 5; ++i) {
      a[i] = low(lshrr(ladd(f1[i], f2[i]), 13));
      a[11 - i] = low(lshrr(lsub(f1[i], f2[i]), 13));
    }
  }

  void interpolate(const W *lsp, W a[2][11]) {
    W q[10];
    for (int j = 0; j < 10; ++j) q[j] = static_cast<W>((lsp[j] >> 1) + (lsp_old_[j] >> 1));
    lsp_to_a(q, a[0]);
    lsp_to_a(lsp, a[1]);
    std::memcpy(lsp_old_, lsp, sizeof lsp_old_);
  }

  // 5.5; `at` is the first sample of the subframe in the frame.
  void adaptive_codebook(int at, int t, int frac) {
    int k = -frac, d = t;
    if (k < 0) {
      k += 3;
      d += 1;
    }
    for (int n = at; n < at + 40; ++n) {
      L s = 0;
      for (int i = 0; i < 10; ++i) {
        s = lmac(s, exc(n - d - i), kInterpolation[k + 3 * i]);
        s = lmac(s, exc(n - d + 1 + i), kInterpolation[3 - k + 3 * i]);
      }
      exc(n) = rnd(s);
    }
  }

  // 5.7
  static void log2_parts(L v, W *e, W *f) {
    *e = *f = 0;
    if (v <= 0) return;
    const int n = norm32(v);
    const L m = v << n;
    *e = static_cast<W>(30 - n);
    const int i = (m >> 25) - 32;
    const L a = (m >> 10) & 0x7FFF;
    *f = hi(kLog2[i] * 65536 - 2 * (kLog2[i] - kLog2[i + 1]) * a);
  }

  static L pow2(int e, W f) {
    const int i = f >> 10;
    const L a = (f & 0x3FF) << 5;
    return lshrr(kPow2[i] * 65536 - 2 * (kPow2[i] - kPow2[i + 1]) * a, 30 - e);
  }

  static L isqrt(L v) {
    if (v <= 0) return 0x3FFFFFFF;
    const int n = norm32(v);
    L m = v << n;
    const int e = 30 - n;
    if ((e & 1) == 0) m >>= 1;
    const int i = (m >> 25) - 16;
    const L a = (m >> 10) & 0x7FFF;
    return (kInverseSqrt[i] * 65536 - 2 * (kInverseSqrt[i] - kInverseSqrt[i + 1]) * a) >> ((e >> 1) + 1);
  }

  void push_qe(W v) {
    std::memmove(qe_ + 1, qe_, 3 * sizeof(W));
    qe_[0] = v;
  }

  void gains(const W *c, int ga, int gb, bool bfi) {
    if (bfi) {
      gain_pitch_ = mul(gain_pitch_, 29491);
      if (gain_pitch_ > 29491) gain_pitch_ = 29491;
      gain_code_ = mul(gain_code_, 32111);
      W av = static_cast<W>(low((qe_[0] + qe_[1] + qe_[2] + qe_[3]) >> 2) - 4096);
      if (av < -14336) av = -14336;
      push_qe(av);
    } else {
      const int i1 = kGainMap1[ga], i2 = kGainMap2[gb];
      gain_pitch_ = add(kGainStage1[i1][0], kGainStage2[i2][0]);
      L energy = 0;
      for (int n = 0; n < 40; ++n) energy = lmac(energy, c[n], c[n]);
      W e, f;
      log2_parts(energy, &e, &f);
      L t = -2 * 24660 * e + 2 * ((f * -24660) >> 15);
      t = (t + 2085632) * 1024;
      for (int k = 0; k < 4; ++k) t = lmac(t, kGainPrediction[k], qe_[k]);
      const L u = (10878 * (t >> 16)) >> 8;
      const int x = u >> 16;
      const W fraction = static_cast<W>((u - x * 65536) >> 1);
      const W g0 = static_cast<W>(pow2(14, fraction));
      const L g = static_cast<L>(kGainStage1[i1][1]) + kGainStage2[i2][1];
      gain_code_ = hi(lshl(lmul(static_cast<W>(g >> 1), g0), x - 10));
      log2_parts(g, &e, &f);
      push_qe(mul(hi(lshl((e - 13) * 65536 + 2 * f, 13)), 24660));
    }
    sharp_ = gain_pitch_ < 3277 ? W{3277} : gain_pitch_ > 13017 ? W{13017} : gain_pitch_;
  }

  // One pass of 1/A: `y` has its ten samples of memory before it.
  static bool filter(const W *a, const W *x, W *y, int count) {
    Flag flag;
    for (int n = 0; n < count; ++n) {
      L s = lmul(x[n], a[0], &flag);
      for (int j = 1; j <= 10; ++j) s = lmsu(s, a[j], y[n - j], &flag);
      y[n] = rnd(lshl(s, 3, &flag), &flag);
    }
    return flag.raised;
  }

  void synthesise(const W *a, int at, W *syn) {  // 5.9
    W y[50];
    std::memcpy(y, mem_syn_, sizeof mem_syn_);
    if (filter(a, &exc(at), y + 10, 40)) {
      ++resyntheses;
      for (W &e : exc_) e = shr(e, 2);
      filter(a, &exc(at), y + 10, 40);
    }
    std::memcpy(mem_syn_, y + 40, sizeof mem_syn_);
    std::memcpy(syn, y + 10, 40 * sizeof(W));
  }

  void fixed_codebook(int code, int signs, int t, W *c) {  // 5.6
    const int m[4] = {5 * (code & 7), 5 * ((code >> 3) & 7) + 1, 5 * ((code >> 6) & 7) + 2,
                      5 * ((code >> 10) & 7) + 3 + ((code >> 9) & 1)};
    std::memset(c, 0, 40 * sizeof(W));
    for (int k = 0; k < 4; ++k) c[m[k]] = (signs >> k) & 1 ? 8191 : -8192;
    for (int n = t; n < 40; ++n) c[n] = add(c[n], mul(c[n - t], shl(sharp_, 1)));
  }

  void speech(const Fields &f, bool bfi, int lag[2], W a[2][11], W *syn) {
    seed_ = 11111;
    W w[10], lsp[10];
    decode_lsf(f, bfi, w);
    lsf_to_lsp(w, lsp);
    interpolate(lsp, a);
    const bool perr = (1 + __builtin_popcount(f.p1 >> 2) + f.p0) & 1;
    for (int s = 0; s < 2; ++s) {
      int t = old_t0_, frac = 0;
      if (bfi || (s == 0 && perr)) {
        old_t0_ = old_t0_ + 1 > 143 ? 143 : old_t0_ + 1;
      } else if (s == 0) {
        t = f.p1 < 197 ? ((f.p1 + 2) * 10923 >> 15) + 19 : f.p1 - 112;
        frac = f.p1 < 197 ? f.p1 - 3 * t + 58 : 0;
        old_t0_ = t;
      } else {
        int lo = lag[0] - 5 < 20 ? 20 : lag[0] - 5;
        if (lo + 9 > 143) lo = 134;
        const int i = ((f.p2 + 2) * 10923 >> 15) - 1;
        t = lo + i;
        frac = f.p2 - 2 - 3 * i;
        old_t0_ = t;
      }
      lag[s] = t;
      adaptive_codebook(40 * s, t, frac);
      int code = f.c[s], signs = f.s[s];
      if (bfi) {
        code = rand_next(&seed_fer_) & 0x1FFF;
        signs = rand_next(&seed_fer_) & 0x000F;
      }
      W c[40];
      fixed_codebook(code, signs, t, c);
      gains(c, f.ga[s], f.gb[s], bfi);
      for (int n = 0; n < 40; ++n) {
        exc(40 * s + n) = rnd(lshl(lmac(lmul(exc(40 * s + n), gain_pitch_), c[n], gain_code_), 1));
      }
      synthesise(a[s], 40 * s, syn + 40 * s);
    }
  }

  // 6.1
  void noise(const Fields &f, int type, W a[2][11], W *syn) {
    if (type == 2) {
      sid_gain_ = kSidGain[f.sid_gain];
      W b[10], w[10];
      for (int j = 0; j < 10; ++j) {
        b[j] = static_cast<W>(kLsfStage1[kSidMap1[f.sid_stage1]][j] +
                              kLsfStage2[kSidMap2[j < 5 ? 0 : 1][f.sid_stage2]][j]);
      }
      space(b, 10);
      compose(b, kSidMaSum[f.sid_mode], kSidMa[f.sid_mode], w);
      push_lsf(b);
      stabilise(w);
      lsf_to_lsp(w, lsp_sid_);
    } else if (past_type_ == 1) {
      const L x = mpy32x16(lshl(sid_sav_, sid_sh_), 410);
      W e, fr;
      log2_parts(x, &e, &fr);
      const W q = add(shl(e, 10), mulr(fr, 1024));
      int index;
      if (q > 22111) {
        index = 31;
      } else if (q <= 4762) {
        index = mul(static_cast<W>(q + 3401), 24);
        if (index < 1) index = 1;
      } else {
        index = (mul(static_cast<W>(q - 340), 193) >> 2) - 1;
        if (index < 6) index = 6;
      }
      sid_gain_ = kSidGain[index];
    }
    cur_gain_ = past_type_ == 1 ? sid_gain_ : add(mulr(cur_gain_, 28672), mulr(sid_gain_, 4096));
    if (cur_gain_ == 0) {
      for (int n = 0; n < 80; ++n) exc(n) = 0;
    } else {
      noise_excitation(0);
      noise_excitation(40);
    }
    interpolate(lsp_sid_, a);
    for (int s = 0; s < 2; ++s) synthesise(a[s], 40 * s, syn + 40 * s);
    sharp_ = 3277;
  }

  static W root(L d) {
    W r = 0;
    for (int t = 16384; t >= 2; t >>= 1) {
      const W v = add(r, static_cast<W>(t));
      if (lsub(d, lmul(v, v)) >= 0) r = v;
    }
    return r;
  }

  // 6.2
  void noise_excitation(int at) {
    W r = rand_next(&seed_);
    int frac = (r & 3) - 1;
    if (frac == 2) frac = 0;
    const int t = ((r >> 2) & 63) + 40;
    int p[4], s[4];
    p[0] = 5 * ((r >> 8) & 7), s[0] = (r >> 11) & 1, p[1] = 5 * ((r >> 12) & 7) + 1, s[1] = (r >> 15) & 1;
    r = rand_next(&seed_);
    p[2] = 5 * (r & 7) + 2, s[2] = (r >> 3) & 1, p[3] = 5 * ((r >> 5) & 7) + 3 + ((r >> 4) & 1),
    s[3] = (r >> 8) & 1;
    const W gp2 = static_cast<W>(2 * (rand_next(&seed_) & 0x1FFF));
    W e[40];
    L energy = 0;
    for (W &v : e) {
      L sum = 0;
      for (int i = 0; i < 12; ++i) sum += rand_next(&seed_);
      v = low(sum >> 7);
      energy = lmac(energy, v, v);
    }
    L l = isqrt(energy >> 1);
    l = mpy32x16(l, add(cur_gain_, mulr(cur_gain_, 19043)));
    int h = norm32(l);
    const W m = hi(lshl(l, h));
    h -= 14;
    for (W &v : e) v = shrr(mulr(v, m), h);
    adaptive_codebook(at, t, frac);
    W peak = 0;
    for (int n = 0; n < 40; ++n) {
      exc(at + n) = add(mulr(exc(at + n), gp2), e[n]);
      if (abs_w(exc(at + n)) > peak) peak = abs_w(exc(at + n));
    }
    int sh = peak == 0 ? 0 : 3 - norm16(peak);
    if (sh < 0) sh = 0;
    L en = 0;
    for (int n = 0; n < 40; ++n) en = lmac(en, shr(exc(at + n), sh), shr(exc(at + n), sh));
    W b = 0;
    for (int k = 0; k < 4; ++k) {
      const W x = shr(exc(at + p[k]), sh);
      b = s[k] ? add(b, x) : sub(b, x);
    }
    const L kk = lmul(cur_gain_, low((80 * cur_gain_) >> 6));
    L d = lsub(lshr(kk, 1 + 2 * sh), en);
    b = shr(b, 1);
    d = lmac(d, b, b);
    sh += 1;
    if (d < 0) {
      int o = 0;
      for (int n = 0; n < 40; ++n) exc(at + n) = e[n];
      for (int q : p) o |= abs_w(e[q]);
      sh = o & 0x4000 ? 2 : 1;
      b = 0;
      for (int k = 0; k < 4; ++k) {
        const W x = shr(e[p[k]], sh);
        b = s[k] ? add(b, x) : sub(b, x);
      }
      d = lmac(lshr(mpy32x16(kk, 24576), 2 * sh - 1), b, b);
    }
    const W square = root(d);
    W x1 = sub(square, b);
    const W x2 = neg(add(b, square));
    if (abs_w(x2) < abs_w(x1)) x1 = x2;
    W g = shrr(x1, 2 - sh);
    g = g > 5000 ? W{5000} : g < -5000 ? W{-5000} : g;
    for (int k = 0; k < 4; ++k) {
      W &v = exc(at + p[k]);
      v = s[k] ? add(v, g) : sub(v, g);
    }
  }

  // 8.2
  static void weight(const W *a, W gamma, W *out) {
    out[0] = a[0];
    W fac = gamma;
    for (int i = 1; i <= 10; ++i) {
      out[i] = rnd(lmul(a[i], fac));
      fac = rnd(lmul(fac, gamma));
    }
  }

  // 8.4
  void long_term(const W *res, int t, W *z) const {
    auto q = [res](int n) { return static_cast<W>(res[n] >> 2); };
    int lo = t - 3, high = t + 3;
    if (high > 143) {
      high = 143;
      lo = 137;
    }
    std::memcpy(z, res, 40 * sizeof(W));
    L best = INT32_MIN;
    int t0 = lo;
    for (int i = lo; i <= high; ++i) {
      L s = 0;
      for (int n = 0; n < 40; ++n) s = lmac(s, q(n), q(n - i));
      if (s > best) {
        best = s;
        t0 = i;
      }
    }
    L cm = best > 0 ? best : 0, en = 1, e0 = 1;
    for (int n = 0; n < 40; ++n) {
      en = lmac(en, q(n - t0), q(n - t0));
      e0 = lmac(e0, q(n), q(n));
    }
    const L top = cm > en ? (cm > e0 ? cm : e0) : en > e0 ? en : e0;
    const int h = norm32(top);
    const W cm16 = rnd(lshl(cm, h)), en16 = rnd(lshl(en, h)), e016 = rnd(lshl(e0, h));
    if (lsub(lmul(cm16, cm16), lmul(en16, e016) >> 1) < 0) return;
    W g0 = 21845, g = 10923;
    if (cm16 <= en16) {
      const W c = mul(cm16, 16384) >> 1, d = en16 >> 1;
      if (c + d > 0) {
        g = div15(c, static_cast<W>(c + d));
        g0 = static_cast<W>(32767 - g);
      } else {
        g0 = 32767;
        g = 0;
      }
    }
    for (int n = 0; n < 40; ++n) z[n] = add(mul(g0, res[n]), mul(g, res[n - t0]));
  }

  // 8.5
  void tilt(const W *a1, const W *a2, const W *z, W *out) {
    W h[10 + 22] = {};
    W x[22] = {};
    std::memcpy(x, a2, 11 * sizeof(W));
    filter(a1, x, h + 10, 22);
    L s0 = 0, s1 = 0;
    for (int i = 0; i < 22; ++i) s0 = lmac(s0, h[10 + i], h[10 + i]);
    for (int i = 0; i < 21; ++i) s1 = lmac(s1, h[10 + i], h[11 + i]);
    const W r0 = hi(s0), r1 = hi(s1);
    const W k = r1 <= 0 ? W{0} : div15(mul(r1, 26214), r0);
    for (int n = 0; n < 40; ++n) out[n] = sub(z[n], mul(k, n == 0 ? mem_pre_ : z[n - 1]));
    mem_pre_ = z[39];
  }

  // 8.7
  void gain_control(const W *syn, W *p) {
    L so = 0, si = 0;
    for (int n = 0; n < 40; ++n) {
      so = lmac(so, p[n] >> 2, p[n] >> 2);
      si = lmac(si, syn[n] >> 2, syn[n] >> 2);
    }
    if (so == 0) {
      past_gain_ = 0;
      return;
    }
    int h = norm32(so) - 1;
    const W go = rnd(lshl(so, h));
    W g0 = 0;
    if (si != 0) {
      const int i = norm32(si);
      const W gi = rnd(lshl(si, i));
      h -= i;
      g0 = mul(rnd(lshl(isqrt(lshr(static_cast<L>(div15(go, gi)) << 7, h)), 9)), 3276);
    }
    for (int n = 0; n < 40; ++n) {
      past_gain_ = add(mul(past_gain_, 29491), g0);
      p[n] = hi(lshl(lmul(p[n], past_gain_), 3));
    }
  }

  void post_filter(const W *a, const W *syn, int t, bool speech, W *p) {
    W a1[11], a2[11], z[40], zt[40], y[50];
    weight(a, 18022, a2);
    weight(a, 22938, a1);
    W *res = res2_ + 143;
    for (int n = 0; n < 40; ++n) {
      L s = lmul(syn[n], a2[0]);
      for (int j = 1; j <= 10; ++j) s = lmac(s, a2[j], syn[n - j]);
      res[n] = rnd(lshl(s, 3));
    }
    if (speech) {
      long_term(res, t, z);
    } else {
      std::memcpy(z, res, sizeof z);
    }
    tilt(a1, a2, z, zt);
    std::memcpy(y, mem_pst_, sizeof mem_pst_);
    filter(a1, zt, y + 10, 40);
    std::memcpy(mem_pst_, y + 40, sizeof mem_pst_);
    std::memcpy(p, y + 10, 40 * sizeof(W));
    gain_control(syn, p);
    std::memmove(res2_, res2_ + 40, 143 * sizeof(W));
  }

  // 9
  void high_pass(const W *p, int16_t *out) {
    for (int n = 0; n < 40; ++n) {
      L s = ladd(mpy32x16(hy1_, 15836), mpy32x16(hy2_, -7667));
      s = lmac(s, p[n], 7699);
      s = lmac(s, hx1_, -15398);
      s = lmac(s, hx2_, 7699);
      const L y = lshl(s, 2);
      out[n] = rnd(lshl(y, 1));
      hx2_ = hx1_;
      hx1_ = p[n];
      hy2_ = hy1_;
      hy1_ = y;
    }
  }

  W exc_[154 + 80] = {};
  W lsp_old_[10], prev_lsf_[10], lsp_sid_[10], lsf_mem_[4][10];
  W mem_syn_[10] = {}, syn_hist_[10] = {}, mem_pst_[10] = {}, res2_[143 + 40] = {};
  W sharp_ = 3277, gain_pitch_ = 0, gain_code_ = 0, qe_[4] = {-14336, -14336, -14336, -14336};
  W seed_fer_ = 21845, seed_ = 11111, sid_sav_ = 0, cur_gain_ = 0, sid_gain_ = 2;
  W mem_pre_ = 0, past_gain_ = 4096, hx1_ = 0, hx2_ = 0;
  L hy1_ = 0, hy2_ = 0;
  int old_t0_ = 60, prev_mode_ = 0, past_type_ = 1, sid_sh_ = 1;
};

}  // namespace g729_literal
