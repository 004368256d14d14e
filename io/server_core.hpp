// server_core: one server at work: its places, its connections, and what has been asked of it. The phases are in
// runnel/serve.hpp; server.cpp runs them.
//
//   R1  `lock_` guards the list of connections, the phase that they are in, and what is asked for; it is held while all
//       are half-closed or cut off, which does not wait, and by a connection that comes or goes;
//   R2  one that enlists late is treated as those that were there: half-closed, or cut off.
#pragma once

#include <atomic>
#include <mutex>
#include <optional>
#include <vector>

#include <runnel/detail/server_core.hpp>
#include <runnel/semaphore.hpp>
#include <runnel/wait_group.hpp>

namespace runnel::detail {

class server_core {
public:
    server_core(const serve_options& how, std::source_location at);
    server_core(const server_core&) = delete;
    server_core& operator=(const server_core&) = delete;
    ~server_core();

    // --- What anybody asks ---
    void stop(std::error_code why) noexcept;
    void stop_now() noexcept;
    void runtime_stops() noexcept;
    serve_counts counts() const noexcept;

    // --- The server's task ---
    task<serve_report> run(served& what, context outer);

    // --- The connections' ---
    void enlist(served_connection& one) noexcept;
    void delist(served_connection& one) noexcept;
    void come() noexcept;
    void leave(bool was_there) noexcept;
    void note_failure(std::exception_ptr failure, served_connection& of) noexcept;
    const context& finish() const noexcept { return finish_.ctx; }

    const serve_options how;

private:
    enum class phase : unsigned char { open, half_closed, cut };

    task<result<>> accept_all(served& what, task_set& connections);
    task<result<>> accept_one(served& what, task_set& connections);
    task<result<>> wait_for_place();
    task<bool> ended_within(std::chrono::nanoseconds time);
    task<> finish_all(task_set& connections, serve_report& end);
    void begin(const context& outer);
    void over() noexcept;
    void accepted_all(const context& outer);
    std::size_t half_close_all();
    std::vector<left_connection> those_left(bool cut);
    void tell_left(serve_report& end);

    semaphore places_;
    wait_group active_;
    std::atomic<std::uint64_t> accepted_{0}, failed_{0}, limited_{0};
    std::atomic<bool> told_{false};

    std::mutex lock_;  // R1
    served_connection* first_ = nullptr;
    phase phase_ = phase::open;
    bool serving_ = false, serves_now_ = false;
    bool asked_to_stop_ = false, asked_now_ = false;
    bool outer_gone_ = false;  // the context had been cancelled when accepting ended
    std::optional<cancel_function> accepting_, patience_;
    cancellable finish_;  // what handlers are given
    context accepting_under_, patience_under_;
};
}
