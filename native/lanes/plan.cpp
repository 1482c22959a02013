#include "lanes/plan.h"

#include <chrono>
#include <utility>

namespace callreplay {

LanePlan::LanePlan(std::vector<Width> widths) : widths_(std::move(widths)) {
  size_t widest = 1;
  for (size_t i = 0; i < widths_.size(); ++i) {
    widest = std::max(widest, widths_[i].lanes);
    const double each = widths_[i].full / static_cast<double>(widths_[i].lanes);
    if (each < widths_[bulk_].full / static_cast<double>(widths_[bulk_].lanes)) {
      bulk_ = i;
    }
  }
  table_.push_back({0.0, bulk_});
  for (size_t n = 1; n <= 2 * widest; ++n) {
    Best best{1e300, 0};
    for (size_t i = 0; i < widths_.size(); ++i) {
      const double cost = widths_[i].cost(n) + table_[n - std::min(n, widths_[i].lanes)].cost;
      // Of equals the wider: fewer calls.
      if (cost < best.cost || (cost == best.cost && widths_[i].lanes > widths_[best.first].lanes)) {
        best = {cost, i};
      }
    }
    table_.push_back(best);
  }
}

double LanePlan::cost(size_t n) const {
  const size_t last = table_.size() - 1;
  const size_t lanes = widths_[bulk_].lanes;
  const size_t bulks = n > last ? (n - last + lanes - 1) / lanes : 0;
  return static_cast<double>(bulks) * widths_[bulk_].full + table_[n - bulks * lanes].cost;
}

size_t LanePlan::first(size_t n) const {
  return n < table_.size() ? table_[n].first : bulk_;
}

std::vector<double> measured_ns(const std::vector<std::function<void()>> &runs, int rounds) {
  using Clock = std::chrono::steady_clock;
  constexpr double kWarmUpNs = 30'000.0;
  const auto since = [](Clock::time_point start) {
    return std::chrono::duration<double, std::nano>(Clock::now() - start).count();
  };
  std::vector<double> least(runs.size(), 1e18);
  for (const auto &run : runs) {
    const Clock::time_point start = Clock::now();
    do {
      run();
    } while (since(start) < kWarmUpNs);
  }
  for (int round = 0; round < rounds; ++round) {
    for (size_t i = 0; i < runs.size(); ++i) {
      const Clock::time_point start = Clock::now();
      runs[i]();
      least[i] = std::min(least[i], since(start));
    }
  }
  return least;
}

}  // namespace callreplay
