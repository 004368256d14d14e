// The steps of accepting; runnel/detail/accepting.hpp names them and the invariants.
#include <runnel/detail/accepting.hpp>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <mutex>
#include <system_error>
#include <utility>

#include <runnel/detail/check.hpp>
#include <runnel/detail/readiness.hpp>
#include <runnel/detail/tracing.hpp>
#include <runnel/detail/wait.hpp>
#include <runnel/detail/worker_local.hpp>
#include <runnel/unix_address.hpp>

#include "call_socket.hpp"
#include "io_figures.hpp"

namespace runnel::detail {

namespace {

enum class trouble { none, of_the_connection, of_this_process, lasting };

/// accept(2) also reports what the network did to the connection before we took it.
trouble kind_of(int status) noexcept {
    switch (-status) {
        case ECONNABORTED:
        case ECONNRESET:
        case EPROTO:
        case ENETDOWN:
        case ENETUNREACH:
        case EHOSTDOWN:
        case EHOSTUNREACH:
        case ENONET:
        case ENOPROTOOPT:
        case ETIMEDOUT:
        case EINTR:
            return trouble::of_the_connection;
        case EMFILE:
        case ENFILE:
        case ENOBUFS:
        case ENOMEM:
        case ENOSPC:  // of an epoll: too many watches
            return trouble::of_this_process;
        default:
            return status >= 0 || status == -EAGAIN ? trouble::none : trouble::lasting;
    }
}

// Long enough to be no spin, short enough to notice soon that something was closed.
constexpr std::int64_t shortest_pause = 5'000'000;
constexpr std::int64_t longest_pause = 100'000'000;
}

// --- The watch ---------------------------------------------------------------------------------------

accept_watch::accept_watch(std::string name, std::source_location made_at)
    : io_watch(made_at), name_(std::move(name)) {}

accept_watch::~accept_watch() {
    if (kept_ >= 0) current_sockets().close(kept_);
}

/// Step 4, of the connection.
int accept_watch::accept_one(int number, socket_calls& calls) noexcept {
    if (kept_ >= 0) return std::exchange(kept_, -1);
    int got = 0;
    do got = calls.accept_now(number);
    while (kind_of(got) == trouble::of_the_connection);
    if (got >= 0) pause_ = 0;
    return got;
}

int accept_watch::take_kept() noexcept {
    const std::lock_guard guard(lock);
    return std::exchange(kept_, -1);
}

/// Step 2.
int accept_watch::take(int number, bool seems_there, socket_calls& calls) noexcept {
    if (has_ended()) return -EBADF;
    if (kept_ < 0 && (!seems_there || pauses_now() || !waiting.empty())) return none_now;
    const int got = accept_one(number, calls);
    const bool lasts = kind_of(got) == trouble::lasting;
    return got >= 0 || lasts ? got : none_now;  // the rest finds the driver
}

/// Step 3.
bool accept_watch::serve(int number, int failed, socket_calls& calls, claimed_tasks& woken) noexcept {
    while (wait_node* const first = waiting.front()) {
        if (!still_waits(*first)) {
            waiting.remove(*first);
            continue;
        }
        const int got = failed != 0 ? -failed : accept_one(number, calls);
        if (got == -EAGAIN) return true;
        if (kind_of(got) == trouble::of_this_process) {
            trouble_ = -got;
            pause_ = pause_ == 0 ? shortest_pause : std::min(2 * pause_, longest_pause);
            rest_for(pause_);
            return false;
        }
        late_wake wake;
        const wait_node* const served = claim_first(waiting, wake);
        if (served == nullptr) {
            if (got >= 0) kept_ = got;  // Q1
            return false;
        }
        *static_cast<int*>(served->slot) = got;
        woken.add(wake);
    }
    return false;
}

void accept_watch::begins_pause() noexcept {
    // relaxed: a figure for people.
    const std::size_t before = std::atomic_ref<std::size_t>(pauses_).fetch_add(1, std::memory_order_relaxed);
    if (before != 0) return;
    const std::string why = std::error_code(trouble_, std::system_category()).message();
    std::fprintf(stderr, "runnel: accept at %s pauses until there are descriptors or memory again: %s\n",
                 name_.c_str(), why.c_str());
}

std::size_t accept_watch::pauses() const noexcept {
    // relaxed: a figure for people.
    return std::atomic_ref<std::size_t>(const_cast<std::size_t&>(pauses_)).load(std::memory_order_relaxed);
}

// --- The case ----------------------------------------------------------------------------------------

accept_case::accept_case(descriptor& listener) noexcept
    : queue_case(no_queue()), listener_(&listener), watch_(static_cast<accept_watch*>(listener.watch())) {
    if (watch_ != nullptr) at_ = watch_;
}

void accept_case::prime(bool takes_none) noexcept {
    if (std::exchange(primed_, true)) return;
    answer_ = -EBADF;
    seems_there_ = waited_ = false;
    if (watch_ == nullptr || !listener_->enter(lane::call, false)) return;  // closed
    answer_ = accept_watch::none_now;
    number_ = listener_->fd();
    waits_ = !takes_none && tls_worker != nullptr;
    if (!takes_none) seems_there_ = current_sockets().readable_now(number_);
    if (waits_ && !watch_->begin(number_)) answer_ = -ENOMEM;
    listener_->leave(lane::call);
}

bool accept_case::try_now(late_wake&) noexcept {
    if (answer_ == accept_watch::none_now)
        answer_ = watch_->take(number_, std::exchange(seems_there_, false), current_sockets());
    if (answer_ == accept_watch::none_now && waits_ && !watch_->stays_begun(number_)) answer_ = -ENOMEM;
    return answer_ != accept_watch::none_now;
}

void accept_case::enlist(task_block& task, std::uint64_t ticket) noexcept {
    check(task.kind != task_kind::thread,
          "listener: a task waits for it, in a runtime; a plain thread can only try_select()");
    node_.slot = &answer_;
    waited_ = true;
    queue_case::enlist(task, ticket);
    watch_->waited_for();
}

bool accept_case::take_kept() noexcept {
    if (!waited_) return false;
    const int kept = watch_->take_kept();
    if (kept >= 0) answer_ = kept;
    return kept >= 0;
}

void accept_case::trace() const noexcept {
    if (answer_ != accept_watch::none_now) trace_complete("accept", number_, answer_, waited_);
}

// --- Both cases --------------------------------------------------------------------------------------

void accept_cases::gather(wait_case** out) noexcept {
    late_wake nobody;
    accept_.prime(tls_worker != nullptr && stopping_.try_now(nobody));
    out[0] = &accept_;
    out[1] = &stopping_;
}

result<descriptor> accept_cases::accepted(unsigned index) noexcept {
    return index == 0 ? answered() : not_accepted(errc::stopping);
}

/// Q1: what was accepted for us in the very moment in which something else ended our wait is ours all the same.
result<descriptor> accept_cases::not_accepted(std::error_code why) noexcept {
    return accept_.take_kept() ? answered() : result<descriptor>(why);
}

result<descriptor> accept_cases::answered() noexcept {
    const int made = accept_.answer();
    if (traced()) [[unlikely]]
        accept_.trace();
    if (made >= 0) {
        note_accepted();
        return descriptor(made, counted_kind::socket, at_);
    }
    if (made == -EBADF || accept_.is_closed()) return errc::closed;
    if (made == accept_watch::none_now) return std::make_error_code(std::errc::not_enough_memory);
    return std::error_code(-made, std::system_category());
}

namespace {
std::string name_of(descriptor& on) {
    native_address_room found;
    const int status = call(on, [&](socket_calls& calls, int fd) { return calls.local(fd, found); });
    if (status < 0) return "a closed listener";
    if (family_of(found) == socket_family::local) return to_string(to_address<unix_address>(found));
    return to_string(to_address<address>(found));
}
}

void watch_listener(descriptor& listener, std::source_location made_at) {
    listener.adopt(new accept_watch(name_of(listener), made_at));
}

void label_listener(descriptor& listener, literal text) noexcept {
    if (io_watch* const watch = listener.watch()) watch->made.set_label(text);
}

std::size_t accept_pauses_of(const descriptor& listener) noexcept {
    const io_watch* const watch = listener.watch();
    return watch != nullptr ? static_cast<const accept_watch*>(watch)->pauses() : 0;
}
}
