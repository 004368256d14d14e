// See model.hpp; its steps are named here.
#include "model.hpp"

#include <linux/futex.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include <runnel/detail/check.hpp>
#include "site_name.hpp"

namespace interleavings {

namespace {
constexpr bool acquires(order how) {
    return how == order::acquire || how == order::acq_rel || how == order::seq_cst;
}
constexpr bool releases(order how) {
    return how == order::release || how == order::acq_rel || how == order::seq_cst;
}
}

// --- Threads ---------------------------------------------------------------------------------------

model::outcome model::run(program& small, decider& by) {
    small_ = &small;
    by_ = &by;
    count_ = small.threads();
    forget();
    by.begin(count_);
    begin_threads();
    running_ = true;
    now_ = by.thread(ready_, -1);
    threads_[now_].chosen = true;
    threads_[now_].stack.go_on(home_);
    running_ = false;
    write_back();
    if (failed_ == nullptr &&
        std::any_of(threads_, threads_ + count_, [](const thread& each) { return each.is != state::ended; }))
        failed_ = small.at_rest();
    if (failed_ == nullptr) small.at_end();
    return {failed_, steps_};
}

/// No location is known, none of the old ones' memory is given back.
void model::forget() {
    if (locations_.empty()) locations_.resize(locations_max);
    known_ = 0;
    width_ = threads_max;
    views_.clear();
    steps_ = in_a_row_ = 0;
    patience_ = small_->patience();
    stores_after_loads_ = small_->stores_after_loads();
    failed_ = nullptr;
    ++round_;
}

void model::begin_threads() {
    ready_ = 0;
    for (unsigned i = 0; i < count_; ++i) {
        thread& each = threads_[i];
        std::fill(each.view, each.view + width_, stamp{0});
        each.view[i] = 1;
        each.is = state::ready;
        each.chosen = each.timed_out = false;
        each.may_wake_early = true;
        each.waits_at = each.looked_at = nullptr;
        each.stack.begin(&model::body);
        ready_ |= 1U << i;
    }
}

/// What the atomics hold for who looks at them after the run.
void model::write_back() {
    for (unsigned i = 0; i < known_; ++i) {
        const location& at = locations_[i];
        if (!at.stores.empty())
            std::memcpy(const_cast<void*>(at.home), &at.stores.back().what,
                        at.bytes);  // little-endian, as we are
    }
}
static_assert(std::endian::native == std::endian::little);

void model::body() {
    model& here = the_model;
    here.small_->thread(here.now_);
    here.leave(state::ended, nullptr);
    __builtin_unreachable();
}

/// Step 1.
void model::point() {
    thread& self = threads_[now_];
    if (self.chosen) {
        self.chosen = false;
    } else {
        unsigned next = now_;
        if ((ready_ & (ready_ - 1)) != 0)
            next = ++in_a_row_ <= patience_ ? by_->thread(ready_, static_cast<int>(now_))
                                            : by_->other(ready_, now_);
        arrive_at(next);
        threads_[now_].chosen = false;
    }
    if (++steps_ > steps_max) fail("no end in sight");
}

/// This one cannot go on, for now or for ever: step 8 when there is no other.
void model::leave(state for_what, const location* at) {
    thread& self = threads_[now_];
    self.is = for_what;
    self.waits_at = at;
    if (for_what != state::dozes) ready_ &= ~(1U << now_);
    if (ready_ == 0) stop();
    arrive_at((ready_ & (ready_ - 1)) == 0 ? static_cast<unsigned>(std::countr_zero(ready_))
                                           : by_->thread(ready_, -1));
}

void model::arrive_at(unsigned next) {
    thread& other = threads_[next];
    if (other.is == state::dozes) {
        other.is = state::ready;
        other.timed_out = true;
    }
    other.chosen = true;
    if (next == now_) return;
    thread& self = threads_[now_];
    now_ = next;
    in_a_row_ = 0;
    other.stack.go_on(self.stack);
}

/// Step 7, the end of it.
void model::wake_spinners(const location& at) {
    for (unsigned i = 0; i < count_; ++i) {
        thread& each = threads_[i];
        if (each.is != state::spins || each.waits_at != &at) continue;
        each.is = state::ready;
        ready_ |= 1U << i;
    }
}

/// To where run() was called. The threads that have not ended stay where they are.
void model::stop() {
    home_.go_on(threads_[now_].stack);
    __builtin_unreachable();
}

void model::fail(const char* what) {
    if (failed_ == nullptr) failed_ = what;
    if (running_) stop();
}

// --- Locations -------------------------------------------------------------------------------------

model::location& model::find(const void* at, unsigned bytes) {
    const auto address = reinterpret_cast<std::uintptr_t>(at);
    std::size_t slot = (address * 0x9e3779b97f4a7c15U) >> 52;
    static_assert(table_size == 1U << 12);
    for (; table_[slot].round == round_; slot = (slot + 1) % table_size)
        if (table_[slot].at == at) return locations_[table_[slot].number];
    if (known_ == locations_max) fail("more locations than the model has room for");
    table_[slot] = {at, round_, known_};
    location& fresh = locations_[known_];
    fresh.home = at;
    fresh.bytes = bytes;
    fresh.number = known_++;
    fresh.seq_cst = fresh.kernel = fresh.written = 0;
    fresh.writer = 0;
    for (stamp& each : fresh.read) each = 0;
    fresh.stores.clear();
    for (unsigned i = 0; i < count_; ++i) threads_[i].view[width_] = 0;
    ++width_;
    if (bytes != 0) {
        value initial = 0;
        std::memcpy(&initial, at, bytes);
        fresh.stores.push_back({initial, 0, 0, 0});
    }
    return fresh;
}

model::stored& model::append(location& at, value what) {
    at.stores.push_back({what, 0, 0, static_cast<std::uint16_t>(now_)});
    threads_[now_].view[threads_max + at.number] = static_cast<stamp>(at.stores.size() - 1);
    wake_spinners(at);
    return at.stores.back();
}

/// Step 4: what who acquires `into` will take over: the view of this thread when it releases, and what the store
/// carried that a read-modify-write has read.
void model::publish(stored& into, bool release, const stored* continued) {
    const bool carried = continued != nullptr && continued->view_size != 0;
    if (!release) {
        if (carried) {
            into.view_at = continued->view_at;
            into.view_size = continued->view_size;
        }
        return;
    }
    thread& self = threads_[now_];
    into.view_at = static_cast<std::uint32_t>(views_.size());
    into.view_size = static_cast<std::uint16_t>(width_);
    views_.insert(views_.end(), self.view, self.view + width_);
    if (carried)
        for (unsigned i = 0; i < continued->view_size; ++i) {
            stamp& mine = views_[into.view_at + i];
            mine = std::max(mine, views_[continued->view_at + i]);
        }
    ++self.view[now_];  // what this thread does from here on is not in it
}

void model::acquire(const stored& from) {
    stamp* const mine = threads_[now_].view;
    const stamp* const theirs = views_.data() + from.view_at;
    for (unsigned i = 0; i < from.view_size; ++i) mine[i] = std::max(mine[i], theirs[i]);
}

/// Which store a load reads that may read all from `floor` on.
unsigned model::choose_store(location& at, stamp floor) {
    const auto last = static_cast<unsigned>(at.stores.size() - 1);
    return floor >= last ? last : last - by_->pick(last - floor + 1);
}

// --- Accesses --------------------------------------------------------------------------------------

value model::load(const void* address, unsigned bytes, order how, place where) {
    how = actual(how, where, side::main, site::kind::load);
    point();
    location& at = find(address, bytes);
    thread& self = threads_[now_];
    stamp& mine = self.view[threads_max + at.number];
    const bool again = self.looked_at == &at && self.line == where.line();
    self.looks = again ? self.looks + 1 : 0;
    if (self.looks >= looks_before_spin && self.saw + 1U == at.stores.size()) {
        leave(state::spins, &at);
        self.chosen = false;
    }
    stamp floor = mine;
    if (how == order::seq_cst) floor = std::max(floor, at.seq_cst);
    if (self.looks >= looks_before_spin) floor = std::max(floor, static_cast<stamp>(self.saw + 1));
    const unsigned index = choose_store(at, floor);
    mine = static_cast<stamp>(index);
    if (again && self.saw != index) self.looks = 0;
    self.looked_at = &at;
    self.line = where.line();
    self.saw = mine;
    if (how == order::seq_cst) at.seq_cst = mine;
    const stored& from = at.stores[index];
    if (how == order::relaxed) at.read[now_] = self.view[now_];
    if (acquires(how)) acquire(from);
    note("load", how, where, at, from.what, 0, static_cast<unsigned>(at.stores.size() - 1 - index));
    return from.what;
}

void model::store(void* address, unsigned bytes, value what, order how, place where) {
    how = actual(how, where, side::main, site::kind::store);
    point();
    location& at = find(address, bytes);
    threads_[now_].looked_at = nullptr;
    if (stores_after_loads_ && how == order::relaxed)
        for (unsigned i = 0; i < count_; ++i)
            if (i != now_ && threads_[now_].view[i] < at.read[i])
                fail("a slot is written that another thread may still read");
    publish(append(at, what), releases(how), nullptr);
    if (how == order::seq_cst) at.seq_cst = static_cast<stamp>(at.stores.size() - 1);
    note("store", how, where, at, 0, what);
}

value model::modify(void* address, unsigned bytes, change which, value by, order how, place where) {
    how = actual(how, where, side::main, site::kind::both);
    point();
    location& at = find(address, bytes);
    threads_[now_].looked_at = nullptr;
    const stored before = at.stores.back();
    if (acquires(how)) acquire(before);
    const value after = changed(before.what, which, by, bytes);
    publish(append(at, after), releases(how), &before);
    if (how == order::seq_cst) at.seq_cst = static_cast<stamp>(at.stores.size() - 1);
    note(which == change::exchange ? "exchange"
         : which == change::add    ? "fetch_add"
                                   : "fetch_sub",
         how, where, at, before.what, after);
    return before.what;
}

bool model::compare_exchange(void* address, unsigned bytes, value& expected, value wanted, order how,
                             order failing, place where) {
    how = actual(how, where, side::main, site::kind::both);
    failing = actual(failing, where, side::failure, site::kind::load);
    point();
    location& at = find(address, bytes);
    thread& self = threads_[now_];
    self.looked_at = nullptr;
    const auto last = static_cast<unsigned>(at.stores.size() - 1);
    // It succeeds on the last store only; it may fail on any that it may read and that differs.
    stamp floor = self.view[threads_max + at.number];
    if (failing == order::seq_cst) floor = std::max(floor, at.seq_cst);
    unsigned candidates = 1;
    for (unsigned i = floor; i < last; ++i) candidates += at.stores[i].what != expected;
    unsigned skip = candidates == 1 ? 0 : by_->pick(candidates);
    unsigned index = last;
    for (; skip != 0; skip -= at.stores[index].what != expected) --index;
    const stored before = at.stores[index];
    if (index == last && before.what == expected) {
        if (acquires(how)) acquire(before);
        publish(append(at, wanted), releases(how), &before);
        if (how == order::seq_cst) at.seq_cst = static_cast<stamp>(last + 1);
        note("compare_exchange", how, where, at, before.what, wanted);
        return true;
    }
    self.view[threads_max + at.number] = static_cast<stamp>(index);
    if (failing == order::seq_cst) at.seq_cst = std::max(at.seq_cst, static_cast<stamp>(index));
    if (acquires(failing)) acquire(before);
    note("compare_exchange fails", failing, where, at, before.what, 0, last - index);
    expected = before.what;
    return false;
}

// Step 6.

void model::plain_read(const void* address) {
    location& at = find(address, 0);
    thread& self = threads_[now_];
    if (at.written != 0 && at.writer != now_ && self.view[at.writer] < at.written)
        fail("a race: plain memory is read that another thread writes");
    at.read[now_] = self.view[now_];
}

void model::plain_write(const void* address) {
    location& at = find(address, 0);
    thread& self = threads_[now_];
    if (at.written != 0 && at.writer != now_ && self.view[at.writer] < at.written)
        fail("a race: plain memory is written by two threads");
    for (unsigned i = 0; i < count_; ++i)
        if (i != now_ && self.view[i] < at.read[i])
            fail("a race: plain memory is written that another thread reads");
    at.writer = now_;
    at.written = self.view[now_];
}

// --- The futex -------------------------------------------------------------------------------------

long model::futex_wait(const void* address, std::uint32_t expected, bool timed) {
    point();
    location& at = find(address, sizeof expected);
    thread& self = threads_[now_];
    self.looked_at = nullptr;
    // W3: what the kernel reads is not seen by the thread.
    const unsigned index = choose_store(at, std::max(self.view[threads_max + at.number], at.kernel));
    const value held = at.stores[index].what;
    note("FUTEX_WAIT", order::relaxed, place{}, at, held, expected,
         static_cast<unsigned>(at.stores.size() - 1 - index));
    if (held != expected) {
        errno = EAGAIN;
        return -1;
    }
    if (self.may_wake_early && by_->pick(2) == 1) {
        self.may_wake_early = false;
        errno = EINTR;
        return -1;
    }
    self.timed_out = false;
    leave(timed ? state::dozes : state::sleeps, &at);
    if (!self.timed_out) return 0;
    errno = ETIMEDOUT;
    return -1;
}

long model::futex_wake(const void* address, std::uint32_t most) {
    point();
    location& at = find(address, sizeof most);
    threads_[now_].looked_at = nullptr;
    if (wrong.no_wake) return 0;
    at.kernel = std::max(at.kernel, threads_[now_].view[threads_max + at.number]);
    std::uint32_t woken = 0;
    for (unsigned i = 0; i < count_ && woken < most; ++i) {
        thread& each = threads_[i];
        if ((each.is != state::sleeps && each.is != state::dozes) || each.waits_at != &at) continue;
        each.is = state::ready;
        ready_ |= 1U << i;
        ++woken;
    }
    note("FUTEX_WAKE", order::relaxed, place{}, at, woken, 0);
    return woken;
}

// --- Sites, faults and the trace ---------------------------------------------------------------------

/// The order given, or that of the fault.
order model::actual(order given, place where, side which, site::kind does) {
    if (seen != nullptr) [[unlikely]]
        note_site(given, where, which, does);
    for (const fault::weakened& each : {wrong.one, wrong.another}) {
        if (each.at == nullptr) break;
        if (each.is(where, which)) return each.to;
    }
    return given;
}

void model::note_site(order given, place where, side which, site::kind does) {
    for (const site& known : *seen)
        if (known.line == where.line() && known.column == where.column() && known.which == which &&
            known.file == where.file_name())
            return;
    site fresh;
    fresh.file = where.file_name();
    fresh.line = where.line();
    fresh.column = where.column();
    fresh.which = which;
    fresh.strength = given;
    fresh.does = does;
    fresh.name = name_of(fresh, where.function_name());
    seen->push_back(fresh);
}

void model::note(const char* what, order how, place where, const location& at, value read, value written,
                 unsigned old) {
    if (trace == nullptr) [[likely]]
        return;
    char line[300];
    const int length =
        std::snprintf(line, sizeof line, "%*s%u  %-22s %-8s @%u  read %llx", static_cast<int>(4 * now_), "",
                      now_, what, name_of(how), at.number, static_cast<unsigned long long>(read));
    std::string text(line, static_cast<std::size_t>(length));
    if (written != 0) {
        std::snprintf(line, sizeof line, " and %llx", static_cast<unsigned long long>(written));
        text += line;
    }
    if (old != 0) text += " (" + std::to_string(old) + " stores ago)";
    if (where.line() != 0)
        text += "   " + short_function(where.function_name()) + ", line " + std::to_string(where.line());
    trace->push_back(std::move(text));
}
}

namespace runnel::detail {

/// The library's asks its steering for the seed.
void check_failed(const char* what, std::source_location where) noexcept {
    std::fprintf(stderr, "%s:%u: %s\n", where.file_name(), static_cast<unsigned>(where.line()), what);
    std::abort();
}

long syscall(long number, void* address, int operation, std::uint32_t number_or_value, const timespec* until,
             std::nullptr_t, unsigned) noexcept {
    using interleavings::the_model;
    interleavings::expect(number == SYS_futex, "a system call other than futex");
    if ((operation & FUTEX_CMD_MASK) == FUTEX_WAKE) return the_model.futex_wake(address, number_or_value);
    return the_model.futex_wait(address, number_or_value, until != nullptr);
}
}
