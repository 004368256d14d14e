// See runnel/rate_limiter.hpp, whose invariants are named here.
#include <algorithm>
#include <cmath>
#include <limits>
#include <mutex>

#include <runnel/detail/wait.hpp>
#include <runnel/rate_limiter.hpp>

namespace runnel {

using namespace detail;

rate_limiter::rate_limiter(rate refill, std::uint64_t burst) noexcept
    : per_ns_(refill.per_ns_), burst_(static_cast<double>(burst)), tokens_(burst_), as_of_(clock_now()) {}

void rate_limiter::refill_until(std::int64_t now) noexcept {
    if (now <= as_of_) return;  // somebody else's clock was read later
    const double came = std::isinf(per_ns_) ? burst_ - tokens_ : static_cast<double>(now - as_of_) * per_ns_;
    tokens_ = std::min(burst_, tokens_ + came);
    as_of_ = now;
}

namespace {
/// How long it takes until a debt is paid.
std::int64_t time_for(double debt, double per_ns) noexcept {
    if (!(debt > 0)) return 0;
    const double ns = std::ceil(debt / per_ns);  // infinity when there is no refill
    return ns < static_cast<double>(never) ? static_cast<std::int64_t>(ns) : never;
}
}

rate_reservation rate_limiter::take(std::uint64_t tokens, bool now_or_never) noexcept {
    const std::int64_t now = clock_now();
    rate_reservation place;
    const std::lock_guard guard(lock_);
    refill_until(now);
    const double left = tokens_ - static_cast<double>(tokens);
    if (std::isinf(per_ns_)) {
        place.ok_ = true;
        place.due_ = now;
        return place;
    }
    if (static_cast<double>(tokens) > burst_ || (now_or_never && left < 0)) return place;
    tokens_ = left;
    place.ok_ = true;
    place.tokens_ = tokens;
    place.due_ = saturated_sum(now, time_for(-left, per_ns_));
    place.owed_before_ = owed_;
    place.owed_ = owed_ += std::clamp(-left, 0.0, static_cast<double>(tokens));
    return place;
}

bool rate_limiter::allow(std::uint64_t tokens) noexcept { return take(tokens, true).ok_; }
rate_reservation rate_limiter::reserve(std::uint64_t tokens) noexcept { return take(tokens, false); }

void rate_limiter::cancel(rate_reservation& place) noexcept {
    const std::int64_t now = clock_now();
    const std::lock_guard guard(lock_);
    const auto tokens = static_cast<double>(std::exchange(place.tokens_, 0U));
    if (!std::exchange(place.ok_, false) || tokens == 0) return;
    const double owed_after = owed_ - place.owed_;  // R2
    if (owed_after >= tokens) return;
    refill_until(now);
    tokens_ = std::min(burst_, tokens_ + tokens - owed_after);
    if (owed_after == 0) owed_ = place.owed_before_;
}

void rate_limiter::set_rate(rate refill) noexcept {
    const std::int64_t now = clock_now();
    const std::lock_guard guard(lock_);
    refill_until(now);
    per_ns_ = refill.per_ns_;
}

void rate_limiter::set_burst(std::uint64_t burst) noexcept {
    const std::int64_t now = clock_now();
    const std::lock_guard guard(lock_);
    refill_until(now);
    burst_ = static_cast<double>(burst);
    tokens_ = std::min(tokens_, burst_);
}

double rate_limiter::tokens() noexcept {
    const std::int64_t now = clock_now();
    const std::lock_guard guard(lock_);
    refill_until(now);
    return tokens_;
}

clock::duration rate_reservation::delay() const noexcept {
    return clock::duration(std::max<std::int64_t>(due_ - clock_now(), 0));
}

// --- Waiting ---------------------------------------------------------------------------------------

bool rate_operation::try_now(late_wake&) noexcept {
    if (of_->allow(tokens_)) return true;
    const std::lock_guard guard(of_->lock_);
    return never_ = static_cast<double>(tokens_) > of_->burst_;
}

void rate_operation::enlist(task_block& task, std::uint64_t ticket) noexcept {
    place_ = of_->reserve(tokens_);
    set_time(place_ ? place_.due_ : never);  // the burst may have shrunk just now
    deadline_case::enlist(task, ticket);
}

/// Also of a case that has lost.
bool rate_operation::delist() noexcept {
    of_->cancel(place_);
    return deadline_case::delist();
}

result<> rate_operation::complete(unsigned) noexcept {
    if (never_) return make_error_code(std::errc::invalid_argument);
    return {};
}
}
