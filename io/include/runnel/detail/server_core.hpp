// server_core: what serve() (runnel/serve.hpp) is made of: its options and figures, and the part that knows the types
// of listener, stream and handler. All decisions are in io/server.cpp.
#pragma once

#include <chrono>
#include <cstdint>
#include <exception>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <runnel/borrow.hpp>
#include <runnel/context.hpp>
#include <runnel/result.hpp>
#include <runnel/scope.hpp>
#include <runnel/task.hpp>
#include <runnel/time.hpp>

namespace runnel {

/// How to serve. Each setter returns the object, each getter has the same name.
class serve_options {
public:
    /// `peer` says who it was. Called on the worker where the handler ended, by several at once.
    using failure_handler = void (*)(std::exception_ptr what, std::string_view peer, void* user);

    /// So many at once. Default: as many as there are descriptors.
    serve_options& connections(std::size_t most) noexcept { return connections_ = most, *this; }
    /// Of each stream that has one: stream_deadlines::set_idle_timeout(). Default: none.
    serve_options& idle_timeout(std::chrono::nanoseconds limit, std::uint64_t least_bytes = 1) noexcept {
        return idle_ = limit, idle_bytes_ = least_bytes, *this;
    }
    /// From the request to finish to the half-close. Default 5 s.
    serve_options& grace(std::chrono::nanoseconds time) noexcept { return grace_ = time, *this; }
    /// From the half-close to the end. Default 1 s.
    serve_options& linger(std::chrono::nanoseconds time) noexcept { return linger_ = time, *this; }
    /// Told of each exception that a handler throws. Default: the first is printed on stderr.
    serve_options& on_failure(failure_handler handler, void* user = nullptr) noexcept {
        return on_failure_ = handler, user_ = user, *this;
    }

    std::size_t connections() const noexcept { return connections_; }
    std::chrono::nanoseconds idle_timeout() const noexcept { return idle_; }
    std::uint64_t idle_bytes() const noexcept { return idle_bytes_; }
    std::chrono::nanoseconds grace() const noexcept { return grace_; }
    std::chrono::nanoseconds linger() const noexcept { return linger_; }
    failure_handler on_failure() const noexcept { return on_failure_; }
    void* failure_user() const noexcept { return user_; }

private:
    std::size_t connections_ = SIZE_MAX / 2;
    std::chrono::nanoseconds idle_ = std::chrono::nanoseconds::max();
    std::uint64_t idle_bytes_ = 1;
    std::chrono::nanoseconds grace_ = std::chrono::seconds(5);
    std::chrono::nanoseconds linger_ = std::chrono::seconds(1);
    failure_handler on_failure_ = nullptr;
    void* user_ = nullptr;
};

struct serve_counts {
    std::uint64_t accepted = 0;
    std::uint64_t failed = 0;   // handlers that threw, and connections for which there was no memory
    std::uint64_t limited = 0;  // how often accepting had to wait for a place
    std::size_t active = 0;
};

/// A connection that had not ended when it was looked at.
struct left_connection {
    left_connection(std::string who, clock::duration time) : peer(std::move(who)), age(time) {}
    std::string peer;
    clock::duration age;
};

/// How a server ended.
struct serve_report {
    std::error_code error;                     // what ended accept(), if that was no request to stop
    serve_counts counts;                       // active: 0
    std::size_t half_closed = 0;               // were left after `grace`
    std::vector<left_connection> cut_off;      // were left after `linger`, or at stop_now()
    std::vector<left_connection> not_stopped;  // and a second after that
    std::string tasks;                         // then: what all tasks were doing (dump.hpp)
};

namespace detail {

class server_core;

/// A place among the connections; once it is taken, one of those that have not ended.
class served_place {
public:
    explicit served_place(server_core& of) noexcept : of_(&of) {}
    served_place(served_place&& other) noexcept
        : of_(std::exchange(other.of_, nullptr)), taken_(other.taken_) {}
    served_place& operator=(served_place&&) = delete;
    ~served_place();
    void take() noexcept;

private:
    server_core* of_;
    bool taken_ = false;
};

/// One connection, as the phases see it.
class served_connection {
public:
    served_connection(const served_connection&) = delete;
    served_connection& operator=(const served_connection&) = delete;
    virtual void half_close() noexcept = 0;
    virtual void cut_off() noexcept = 0;
    virtual std::string peer() noexcept = 0;

protected:
    explicit served_connection(server_core& of) noexcept : of_(of) {}
    ~served_connection() = default;
    /// By the class at the end: from now on, and not any more, the others are called.
    void enlist() noexcept;
    void delist() noexcept;

private:
    friend class server_core;
    server_core& of_;
    served_connection* next_ = nullptr;
    served_connection* prev_ = nullptr;
    clock::time_point since_{};
    std::string name_;  // of its peer, once it was cut off: then nobody knows any more
};

/// What the core does not know the type of.
class served {
public:
    /// Accepts one connection and starts its task.
    virtual task<result<>> next(task_set& connections, served_place place) = 0;
    virtual void close() noexcept = 0;

protected:
    ~served() = default;
};

const serve_options& options_of(const server_core& core) noexcept;
const context& finish_of(const server_core& core) noexcept;
void note_failure(server_core& core, std::exception_ptr what, served_connection& of) noexcept;
/// All the phases.
task<serve_report> run_server(server_core& core, served& what);

template <class Stream>
class served_stream final : public served_connection {
public:
    served_stream(server_core& of, Stream&& taken) : served_connection(of), stream(std::move(taken)) {
        enlist();
    }
    ~served_stream() { delist(); }
    void set_idle_timeout(const serve_options& how) {
        if constexpr (requires { stream.set_idle_timeout(how.idle_timeout(), how.idle_bytes()); })
            if (how.idle_timeout() != how.idle_timeout().max())
                stream.set_idle_timeout(how.idle_timeout(), how.idle_bytes());
    }
    void half_close() noexcept override { (void)stream.shutdown_write(); }
    void cut_off() noexcept override { stream.close(); }
    std::string peer() noexcept override {
        if constexpr (requires { to_string(*stream.peer_address()); }) {
            const auto known = stream.peer_address();
            if (known) return to_string(*known);
        }
        return "somebody";
    }

    Stream stream;
};

/// The handler, called through this: so that the task of a connection depends on no closure's type (which g++ would
/// warn of where that is one of a function).
template <class Stream>
class handler_of {
public:
    virtual task<> call(Stream& peer, const context& finish) = 0;

protected:
    ~handler_of() = default;
};

template <class Stream>
task<> talk_to(server_core* of, handler_of<Stream>* handler, Stream taken, served_place place) {
    server_core& core = *of;
    [[maybe_unused]] const served_place held(std::move(place));
    served_stream<Stream> peer(core, std::move(taken));
    std::exception_ptr failure;
    try {
        peer.set_idle_timeout(options_of(core));
        co_await handler->call(peer.stream, finish_of(core));
    } catch (...) {
        failure = std::current_exception();
    }
    if (failure) note_failure(core, std::move(failure), peer);
}

/// Of an accept() that is an operation, or a task.
template <class Accept>
auto stream_from() {
    if constexpr (requires { typename Accept::result_type; })
        return std::type_identity<typename Accept::result_type::value_type>();
    else
        return std::type_identity<typename Accept::value_type::value_type>();
}
template <class Listener>
using stream_of = typename decltype(stream_from<decltype(std::declval<Listener&>().accept())>())::type;

template <class Listener, class Handler>
class served_by final : public served, private handler_of<stream_of<Listener>> {
public:
    using stream = stream_of<Listener>;
    served_by(server_core& core, Listener&& listener, Handler&& handler)
        : core_(core), listener_(std::move(listener)), handler_(std::move(handler)) {}
    task<result<>> next(task_set& connections, served_place place) override {
        auto accepted = co_await listener_.accept();
        if (!accepted) co_return accepted.error();
        place.take();
        handler_of<stream>* const handler = this;
        connections.spawn(talk_to<stream>, &core_, handler, std::move(*accepted), std::move(place));
        co_return result<>();
    }
    void close() noexcept override { listener_.close(); }

private:
    task<> call(stream& peer, const context& finish) override {
        if constexpr (std::is_invocable_v<Handler&, stream&, context>)
            return handler_(peer, finish);
        else
            return handler_(peer);
    }

    server_core& core_;
    Listener listener_;
    Handler handler_;
};
}
}
