// The phases of a server; see runnel/serve.hpp, and server_core.hpp for who may touch what.
#include <cstdio>
#include <new>
#include <string>

#include <runnel/detail/check.hpp>
#include <runnel/dump.hpp>
#include <runnel/serve.hpp>
#include <runnel/stopping.hpp>

#include "server_core.hpp"

namespace runnel {

using namespace std::chrono_literals;

namespace detail {

namespace {

/// Did accept() end because it was asked to?
bool is_request(std::error_code why) noexcept {
    return why == errc::cancelled || why == errc::deadline_exceeded || why == errc::stopping ||
           why == errc::closed;
}

std::string words_of(const std::exception_ptr& failure) {
    try {
        std::rethrow_exception(failure);
    } catch (const std::exception& known) {
        return known.what();
    } catch (...) {
        return "something that is no std::exception";
    }
}

/// Until the runtime begins to stop; or until the server has ended, which cancels this.
task<> watch_runtime(server_core& core) {
    const result<> stops = co_await stopping();
    if (stops) core.runtime_stops();
}
}

server_core::server_core(const serve_options& options, std::source_location at)
    : how(options), places_(options.connections(), at), active_(at), finish_(with_cancel(background(), at)) {
    places_.label("places of a server");
    active_.label("connections of a server");
}

// --- Connections -------------------------------------------------------------------------------------------

void server_core::enlist(served_connection& one) noexcept {
    const std::lock_guard guard(lock_);
    one.since_ = clock::now();
    one.next_ = first_;
    if (first_ != nullptr) first_->prev_ = &one;
    first_ = &one;
    if (phase_ == phase::half_closed) one.half_close();  // R2
    if (phase_ == phase::cut) one.cut_off();
}

void server_core::delist(served_connection& one) noexcept {
    const std::lock_guard guard(lock_);
    (one.prev_ != nullptr ? one.prev_->next_ : first_) = one.next_;
    if (one.next_ != nullptr) one.next_->prev_ = one.prev_;
}

void server_core::come() noexcept {
    accepted_.fetch_add(1, std::memory_order_relaxed);  // relaxed: a figure, as the others
    active_.add();
}

void server_core::leave(bool was_there) noexcept {
    places_.release();
    if (was_there) active_.done();
}

void server_core::note_failure(std::exception_ptr failure, served_connection& of) noexcept {
    failed_.fetch_add(1, std::memory_order_relaxed);  // relaxed: a figure
    const std::string peer = of.peer();
    if (how.on_failure() != nullptr) return how.on_failure()(failure, peer, how.failure_user());
    if (told_.exchange(true)) return;
    std::fprintf(stderr, "runnel: the handler of a connection of %s has failed, which ends it: %s%s\n",
                 peer.c_str(), words_of(failure).c_str(), "; others are only counted");
}

// --- What is asked -----------------------------------------------------------------------------------------

void server_core::stop(std::error_code why) noexcept {
    const std::lock_guard guard(lock_);
    asked_to_stop_ = true;
    if (accepting_) (*accepting_)(why);
}

void server_core::stop_now() noexcept {
    stop(make_error_code(errc::cancelled));
    const std::lock_guard guard(lock_);
    asked_now_ = true;
    if (patience_) (*patience_)();
}

/// V3: the second request is one to hurry.
void server_core::runtime_stops() noexcept {
    bool hurry = false;
    {
        const std::lock_guard guard(lock_);
        hurry = outer_gone_;
    }
    if (hurry)
        stop_now();
    else
        stop(make_error_code(errc::stopping));
}

serve_counts server_core::counts() const noexcept {
    serve_counts now;
    // relaxed: figures.
    now.accepted = accepted_.load(std::memory_order_relaxed);
    now.failed = failed_.load(std::memory_order_relaxed);
    now.limited = limited_.load(std::memory_order_relaxed);
    now.active = static_cast<std::size_t>(const_cast<wait_group&>(active_).count());
    return now;
}

// --- Phase 1 -----------------------------------------------------------------------------------------------

task<result<>> server_core::wait_for_place() {
    auto place = places_.try_acquire();
    if (!place) {
        limited_.fetch_add(1, std::memory_order_relaxed);  // relaxed: a figure
        place = co_await places_.acquire();
    }
    if (!place) co_return place.error();
    place->forget();  // leave() gives it back
    co_return result<>();
}

task<result<>> server_core::accept_one(served& what, task_set& connections) {
    const result<> room = co_await wait_for_place();
    if (!room) co_return room;
    served_place place(*this);
    try {
        co_return co_await what.next(connections, std::move(place));
    } catch (const std::bad_alloc&) {                     // the connection is closed, the server goes on
        failed_.fetch_add(1, std::memory_order_relaxed);  // relaxed: a figure
    }
    co_return result<>();
}

task<result<>> server_core::accept_all(served& what, task_set& connections) {
    for (;;) {
        const result<> one = co_await accept_one(what, connections);
        if (!one) co_return one;
    }
}

void server_core::begin(const context& outer) {
    cancellable accepting = with_cancel(outer);
    const std::lock_guard guard(lock_);
    check(!serving_, "server: it serves already, and can do so once");
    serving_ = serves_now_ = true;
    accepting_under_ = accepting.ctx;
    accepting_.emplace(accepting.cancel);
    if (asked_to_stop_) accepting.cancel();
}

void server_core::over() noexcept {
    const std::lock_guard guard(lock_);
    serves_now_ = false;
}

server_core::~server_core() {
    check(!serves_now_, "server: it ends while it serves: stop() it, and wait for its serve()");
}

// --- Phases 2 to 5 -----------------------------------------------------------------------------------------

void server_core::accepted_all(const context& outer) {
    const bool hurry = outer.err() == errc::stopping;  // the root is cancelled: the runtime's grace is over
    const bool gone = outer.cancelled();
    cancellable patience = with_cancel(gone ? background() : outer);
    const std::lock_guard guard(lock_);
    outer_gone_ = gone;
    patience_under_ = patience.ctx;
    patience_.emplace(patience.cancel);
    if (hurry || asked_now_) patience.cancel();
}

/// Have all ended? False: the time is over, or V3.
task<bool> server_core::ended_within(std::chrono::nanoseconds time) {
    auto limited = with_timeout(time, active_.wait());
    const result<> ended = co_await with_context(patience_under_, std::move(limited));
    co_return ended.has_value() || active_.count() == 0;
}

std::size_t server_core::half_close_all() {
    const std::lock_guard guard(lock_);
    phase_ = phase::half_closed;
    std::size_t count = 0;
    for (served_connection* each = first_; each != nullptr; each = each->next_, ++count) each->half_close();
    return count;
}

std::vector<left_connection> server_core::those_left(bool cut) {
    std::vector<left_connection> left;
    const std::lock_guard guard(lock_);
    const clock::time_point now = clock::now();
    for (served_connection* each = first_; each != nullptr; each = each->next_) {
        if (each->name_.empty()) each->name_ = each->peer();
        left.emplace_back(each->name_, now - each->since_);
        if (cut) each->cut_off();
    }
    if (cut) phase_ = phase::cut;
    return left;
}

void server_core::tell_left(serve_report& end) {
    end.not_stopped = those_left(false);
    end.tasks = dump_tasks();
    std::fprintf(stderr, "runnel: a server waits for %zu handlers that go on although they are cancelled:\n",
                 end.not_stopped.size());
    for (const left_connection& each : end.not_stopped)
        std::fprintf(stderr, "  of %s, for %.1f s\n", each.peer.c_str(),
                     std::chrono::duration<double>(each.age).count());
    std::fputs(end.tasks.c_str(), stderr);
}

task<> server_core::finish_all(task_set& connections, serve_report& end) {
    finish_.cancel(make_error_code(errc::stopping));
    if (co_await ended_within(how.grace())) co_return;
    if (!patience_under_.cancelled()) {
        end.half_closed = half_close_all();
        if (co_await ended_within(how.linger())) co_return;
    }
    connections.cancel(make_error_code(errc::stopping));
    end.cut_off = those_left(true);
    const result<> ended = co_await with_timeout(1s, active_.wait());
    if (!ended) tell_left(end);
}

task<serve_report> server_core::run(served& what, context outer) {
    serve_report end;
    begin(outer);
    task_set watchers;
    task_set connections;
    watchers.spawn(watch_runtime, borrow(*this));
    auto accepting = accept_all(what, connections);
    const result<> why = co_await with_context(accepting_under_, std::move(accepting));
    if (!is_request(why.error())) end.error = why.error();
    what.close();
    accepted_all(outer);
    co_await finish_all(connections, end);
    watchers.cancel();
    (void)co_await connections.join();
    (void)co_await watchers.join();
    end.counts = counts();
    over();
    co_return end;
}

// --- What the templates call -------------------------------------------------------------------------------

served_place::~served_place() {
    if (of_ != nullptr) of_->leave(taken_);
}
void served_place::take() noexcept {
    taken_ = true;
    of_->come();
}
void served_connection::enlist() noexcept { of_.enlist(*this); }
void served_connection::delist() noexcept { of_.delist(*this); }

const serve_options& options_of(const server_core& core) noexcept { return core.how; }
const context& finish_of(const server_core& core) noexcept { return core.finish(); }
void note_failure(server_core& core, std::exception_ptr what, served_connection& of) noexcept {
    core.note_failure(std::move(what), of);
}

task<serve_report> run_server(server_core& core, served& what) {
    const context outer = current_context();
    auto phases = core.run(what, outer);
    co_return co_await shielded(std::move(phases));
}
}

server::server(const serve_options& how, std::source_location at) : core_(new detail::server_core(how, at)) {}
server::~server() { delete core_; }
void server::stop() noexcept { core_->stop(make_error_code(errc::cancelled)); }
void server::stop_now() noexcept { core_->stop_now(); }
serve_counts server::counts() const noexcept { return core_->counts(); }
}
