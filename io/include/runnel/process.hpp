// process: child processes: start, talk to, wait for, end.
//
//   rn::command sort("sort");
//   sort.input(rn::stdio::pipe()).output(rn::stdio::pipe());
//   auto child = sort.start();
//   if (!child) co_return say(sort.explain(child.error()));     // cannot start 'sort': No such file or directory
//   (void)co_await child->input().write_all("b\na\n");
//   child->input().close();
//   rn::buffered_reader lines(child->output());
//   while (auto line = co_await lines.read_line()) use(*line);
//   auto end = co_await child->wait();
//
//   auto done = co_await rn::with_timeout(5s, rn::output(rn::command("git").args("status", "-s")));
//   use(done.out);
//
//   R1  a child has the descriptors that were named, and no others; no signal blocked, each with its default effect;
//   R2  it is known by a descriptor (pidfd), so no signal ever hits another process that has got its number;
//   R3  whoever owns a process ends it: its destructor kills one that still runs. detach() lets it run on;
//   R4  none is left as a zombie: who waits for it takes its status; that of one that was dropped or detached is taken
//       by a thread of ours, which is there as long as it has any (and needs one free descriptor more, once a select
//       has waited for the child);
//   R5  somebody else in the program who reaps all children (waitpid(-1), SIGCHLD ignored) may be faster: then wait()
//       ends all the same, with no_child_process, for nobody else knows the status.
//
// Not taken: SIGCHLD (a program has one handler, and it is not ours); a destructor that detaches (what a task has
// started would run on after it was cancelled) or waits (destructors never do).
#pragma once

#include <chrono>
#include <source_location>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

#include <runnel/result.hpp>
#include <runnel/task.hpp>

#include "detail/descriptor.hpp"
#include "detail/io_operation.hpp"
#include "detail/readiness.hpp"
#include "pipe.hpp"
#include "transfer.hpp"

namespace runnel {

/// What one of a child's three streams is.
class stdio {
public:
    /// The one of this program. The default.
    static stdio inherit() noexcept { return stdio(kind::inherit, -1); }
    /// /dev/null.
    static stdio null() noexcept { return stdio(kind::null, -1); }
    /// A pipe to this program: process::input(), output(), error().
    static stdio pipe() noexcept { return stdio(kind::pipe, -1); }
    /// An open descriptor, which stays its owner's: it must be open when the child is started.
    static stdio from(int fd) noexcept { return stdio(kind::descriptor, fd); }
    /// Of error only: where output goes.
    static stdio to_output() noexcept { return stdio(kind::merged, -1); }

    enum class kind : unsigned char { inherit, null, pipe, descriptor, merged };
    kind is() const noexcept { return is_; }
    int fd() const noexcept { return fd_; }

private:
    stdio(kind is, int fd) noexcept : is_(is), fd_(fd) {}
    kind is_;
    int fd_;
};

/// How a process has ended.
class exit_status {
public:
    exit_status() noexcept = default;
    /// `code`: what it returned; or `signal`: what killed it.
    exit_status(int code, int signal) noexcept : code_(code), signal_(signal) {}

    /// Did it return 0?
    bool ok() const noexcept { return code_ == 0 && signal_ == 0; }
    explicit operator bool() const noexcept { return ok(); }
    bool exited() const noexcept { return signal_ == 0; }
    /// What it returned; 128 + signal, as shells say it, when it was killed.
    int code() const noexcept { return signal_ != 0 ? 128 + signal_ : code_; }
    /// What killed it, or 0.
    int signal() const noexcept { return signal_; }
    friend bool operator==(const exit_status&, const exit_status&) = default;

private:
    int code_ = 0;
    int signal_ = 0;
};
/// "exited with 1", "killed by SIGTERM".
std::string to_string(const exit_status& end);

class process;

/// What is to be started, and how. A value; each setter returns the object. May be started any number of times.
class command {
public:
    /// A path, or a name that is looked for in the PATH of this program. It is the first argument, too.
    explicit command(std::string program) : program_(std::move(program)) {}

    command& arg(std::string one) { return args_.push_back(std::move(one)), *this; }
    template <class... Texts>
        requires(std::is_constructible_v<std::string, Texts> && ...)
    command& args(Texts&&... more) {
        return (args_.emplace_back(std::forward<Texts>(more)), ...), *this;
    }
    command& args(const std::vector<std::string>& more) {
        for (const std::string& one : more) args_.push_back(one);
        return *this;
    }
    /// One variable of its environment, which begins as this program's.
    command& set(std::string name, std::string value) {
        return note(std::move(name), std::move(value), true);
    }
    command& unset(std::string name) { return note(std::move(name), {}, false); }
    /// Of this program's environment it gets nothing.
    command& clear_environment() noexcept { return clears_ = true, *this; }
    command& directory(std::string path) { return directory_ = std::move(path), *this; }

    command& input(stdio is) noexcept { return streams_[0] = is, *this; }
    command& output(stdio is) noexcept { return streams_[1] = is, *this; }
    command& error(stdio is) noexcept { return streams_[2] = is, *this; }
    /// The child has `fd`, which stays its owner's, under the number `as` (3 to 255).
    command& descriptor(int fd, int as);

    /// A process group of its own: what is typed at the terminal (Ctrl-C) does not reach it, and kill() and terminate()
    /// reach the whole group.
    command& own_group(bool on = true) noexcept { return own_group_ = on, *this; }

    /// Starts it.
    /// Returns  the running process; no_such_file_or_directory, permission_denied, too_many_files_open and the like:
    ///          explain() says it in words. Once it is there the program has been found and begun.
    /// Threads  any. Cost: the thread waits until the child has begun its program: some 100 microseconds.
    ///          check(): not in a simulation, which has no processes.
    result<process> start(std::source_location at = std::source_location::current()) const;

    /// An error of start() with the names that belong to it.
    std::string explain(std::error_code why) const;

    const std::string& program() const noexcept { return program_; }
    /// 0, 1 or 2.
    const stdio& stream(int number) const noexcept { return streams_[number]; }

private:
    friend class spawning;
    std::string program_;
    std::vector<std::string> args_;
    struct change {
        std::string name, value;
        bool is_set;
    };
    command& note(std::string name, std::string value, bool is_set);

    std::vector<change> changes_;  // of the environment
    std::vector<std::pair<int, int>> passed_;
    std::string directory_;
    stdio streams_[3] = {stdio::inherit(), stdio::inherit(), stdio::inherit()};
    bool clears_ = false;
    bool own_group_ = false;
};

namespace detail {
class child_state;
}

/// Waits for a child's end.
class [[nodiscard]] process_wait final : public detail::io_operation_of<process_wait> {
public:
    using result_type = result<exit_status>;
    explicit process_wait(detail::child_state& of) noexcept;
    result_type complete(transfer done) noexcept;

    // What a case asks: detail/readiness.hpp.
    static constexpr bool counts_itself = true, by_many = true;
    detail::descriptor& where() const noexcept;
    process_wait anew() const noexcept { return process_wait(*of_); }
    bool is_there(detail::socket_calls&, int) const noexcept { return has_ended(); }
    long take(detail::socket_calls&, int) noexcept { return 1; }
    detail::whole_case<process_wait> as_case() && noexcept {
        return detail::whole_case<process_wait>(std::move(*this));
    }

private:
    bool has_ended() const noexcept;

    detail::child_state* of_;
};

/// A running child, or one that has ended; move-only. The destructor kills it (R3) if it still runs.
/// Threads  kill() and wait() by any tasks at once; not moved or destroyed while they wait: check().
class process {
public:
    process(process&& other) noexcept
        : state_(std::exchange(other.state_, nullptr)),
          input_(std::move(other.input_)),
          output_(std::move(other.output_)),
          error_(std::move(other.error_)) {}
    process& operator=(process&& other) noexcept;
    ~process();

    int pid() const noexcept;

    /// Our ends of its pipes; for a stream that is no pipe, one that is closed.
    pipe_writer& input() noexcept { return input_; }
    pipe_reader& output() noexcept { return output_; }
    pipe_reader& error() noexcept { return error_; }

    /// Waits for its end. (Who has not read its output may wait for ever: the child does, too.) A select case.
    /// Returns       how it ended, each time; no_child_process when somebody else has taken its status (R5).
    /// Cancellation  a cancel point: ends the wait, not the child. Of a child that has ended it tells all the same.
    process_wait wait() noexcept;

    /// Sends a signal, to its group if that is its own. Never waits. Threads: any.
    /// Returns  no_such_process when it has ended.
    result<> kill(int signal) noexcept;

    /// SIGTERM; SIGKILL if it has not ended when `grace` is over; and waits for its end.
    /// Returns       as wait().
    /// Cancellation  none: it takes no longer than `grace` and what the system needs to end the process.
    task<result<exit_status>> terminate(std::chrono::nanoseconds grace = std::chrono::seconds(5));

    /// It runs on without an owner. What we have of its pipes is closed.
    void detach() && noexcept;

    /// Readable when the child has ended.
    int native_handle() const noexcept;

private:
    friend class command;
    friend class spawning;
    explicit process(detail::child_state* state) noexcept : state_(state) {}
    void give_up() noexcept;

    detail::child_state* state_;
    pipe_writer input_;
    pipe_reader output_, error_;
};

/// Starts it, and waits for its end.
/// Returns       as start() and wait().
/// Cancellation  a cancel point: then the child is terminate()d with this grace before it returns, so with
///               with_timeout() it takes that much longer at most.
task<result<exit_status>> run_process(command what, std::chrono::nanoseconds grace = std::chrono::seconds(5));

/// What output() collects.
class [[nodiscard]] process_output {
public:
    process_output() noexcept {}
    /// Did it run to its end, and return 0?
    bool ok() const noexcept { return !error && status.ok(); }
    explicit operator bool() const noexcept { return ok(); }

    std::error_code error;  // why it has not run to its end; what was collected until then is here
    exit_status status;     // if it has ended
    std::string out, err;
};

/// How output() goes about it. Each setter returns the object.
class output_options {
public:
    /// Of each of the two streams. One more byte ends the child: std::errc::message_size. Default 16 MiB.
    output_options& limit(std::size_t bytes) noexcept { return limit_ = bytes, *this; }
    /// What is written to its input; default: it reads /dev/null.
    output_options& input(std::string text) { return input_ = std::move(text), has_input_ = true, *this; }
    /// For terminate(). Default 5 s.
    output_options& grace(std::chrono::nanoseconds time) noexcept { return grace_ = time, *this; }

    std::size_t limit() const noexcept { return limit_; }
    const std::string& input() const noexcept { return input_; }
    bool has_input() const noexcept { return has_input_; }
    std::chrono::nanoseconds grace() const noexcept { return grace_; }

    output_options() noexcept {}

private:
    std::size_t limit_ = std::size_t{16} << 20;
    std::string input_;
    std::chrono::nanoseconds grace_ = std::chrono::seconds(5);
    bool has_input_ = false;
};

/// Runs it to its end and collects what it writes: its output, and its errors if what.error() was not set otherwise.
/// Returns       what was collected, with the reason when that is not all.
/// Cancellation  a cancel point: then the child is terminate()d before it returns. The time limit of a child is
///               with_timeout(d, output(…)), which gives errc::timed_out and what was collected.
/// Order         it ends when its streams have: what the child has started itself and left running has them, too.
task<process_output> output(command what, output_options how = {});
}
