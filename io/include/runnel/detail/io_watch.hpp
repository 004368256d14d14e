// io_watch: a descriptor as something that tasks come to, wait at, and leave, as a channel is: I/O in a select.
//
// What the kernel has begun for a task cannot be left at once: the frame has to stay until the kernel is done. So a
// select waits at a watch instead. Its only action in the kernel is "tell me when this is readable", which takes
// nothing; it belongs to no task but to the descriptor, and stays under way when the tasks that wait change.
//
//      none --begin()--> moving --readable, nobody waits--> resting
//       ^                  |  ^                                |
//       +-- end(), or -----+  +---- enlist() sends a message --+
//           the driver ends
//
//   1  before a wait the case tries by itself, without a lock, and begins the watch if it never was: prime();
//   2  it stands in the queue, as any case does. That sets a watch in motion that rests, by a message to the driver
//      which has it: the one thing that may be done for it under our lock;
//   3  the driver says "readable": if somebody waits, serve() looks whether it is true and wakes him. The action is
//      begun again for as long as somebody waits;
//   4  the case completes by a plain call, which does not wait.
//
//   W1  while somebody is in the queue the action is under way, or a message is that will begin it;
//   W2  one message is on the way at most: it has one link, in the request;
//   W3  lock order: the driver's, then ours. With ours held nothing of the driver is called but its mailbox;
//   W4  the descriptor's number is given back when the action is over: until then the kernel may look at it;
//   W5  it is there until neither the socket has it nor a driver;
//   W6  when the driver ends, whose workers are not the only ones that wait here perhaps, who is left gets it begun
//       again in his own runtime; and so who comes to the queue just then, and had found it begun: stays_begun(). The
//       task for that, and that of a pause, is started under the lock: who is in the queue keeps his runtime there.
//
// Not taken: cancelling the loser's own action and waiting for its end (each turn of a select would cost two more
// trips to the kernel, and whoever has been won over would wait for them); a real receive or accept under way, whose
// result is kept when nobody waits (a connection that nobody ever fetches is lost when the listener ends).
#pragma once

#include <cstdint>
#include <source_location>

#include <runnel/detail/claimed_tasks.hpp>
#include <runnel/detail/wait_queue.hpp>
#include <runnel/task.hpp>

#include "io_action.hpp"
#include "socket_calls.hpp"

namespace runnel::detail {

struct io_request;
class runtime_core;

class io_watch : public wait_queue {
public:
    io_watch(const io_watch&) = delete;
    io_watch& operator=(const io_watch&) = delete;

    /// Step 1: makes sure that a driver has it. False: there is no memory for that.
    /// Threads: a worker, while `number` is kept from being closed (it is in a lane of its descriptor).
    bool begin(int number) noexcept;
    /// L. Step 2, after the node is in the queue.
    void waited_for() noexcept;
    /// L. Before the node is in the queue, when this is likely to happen. W6: has a driver it still, or gets one it?
    /// False: it can be none; nobody may wait here now. Threads: a worker.
    bool stays_begun(int number) noexcept;
    /// L.
    bool has_ended() const noexcept { return ended_; }
    /// The socket is closed: who waits goes on. True: the number will be given back later (W4). Threads: any.
    bool end(int number) noexcept;
    /// Who waits goes on, and finds why by himself. Threads: any, while the socket has it.
    void interrupt() noexcept;
    /// Threads: any; the answer may be old at once.
    bool is_waited_for() const noexcept { return !waiting.looks_empty(); }
    /// W5.
    void ref() noexcept;
    void unref() noexcept;

protected:
    explicit io_watch(std::source_location made_at) noexcept : wait_queue(made_at), action_(*this) {}
    virtual ~io_watch() = default;

    /// L. Step 3. `failed`: an errno, if the action could not be carried out. Says whether it is to be begun again.
    virtual bool serve(int number, int failed, socket_calls& calls, claimed_tasks& woken) noexcept = 0;

    /// L. Of serve(), while somebody waits: it is to be begun again, but only after so many nanoseconds.
    void rest_for(std::int64_t nanoseconds) noexcept { pause_for_ = nanoseconds; }
    bool pauses_now() const noexcept { return pause_for_ != 0; }
    /// Such a pause begins. Without the lock, on a worker.
    virtual void begins_pause() noexcept {}

private:
    enum class phase : unsigned char { none, beginning, moving, resting };

    using event = standing_action::event;
    using next = standing_action::next;

    /// "Tell me when this is readable."
    class readable final : public standing_action {
    public:
        explicit readable(io_watch& of) noexcept : of_(of) { kind = io_kind::readability; }
        next hears(event what, socket_calls& calls) noexcept override { return of_.hears(what, calls); }

    private:
        io_watch& of_;
    };

    next hears(event what, socket_calls& calls) noexcept;
    next go_on(event what, socket_calls& calls, claimed_tasks& woken) noexcept;
    next let_go(bool forsaken, socket_calls& calls) noexcept;
    void send_message() noexcept;
    runtime_core* first_runtime() const noexcept;
    void rest_or_go_on() noexcept;
    void find_another(int number, claimed_tasks& in_vain) noexcept;

    class reference;
    static task<> pause(reference to);
    static task<> begin_elsewhere(reference to, int number);

    readable action_;
    io_request* request_ = nullptr;  // while moving or resting
    int inherited_ = -1;             // W4: the number that is to be given back
    unsigned refs_ = 1;              // atomic in the .cpp
    std::int64_t pause_for_ = 0;
    phase phase_ = phase::none;
    bool message_ = false;  // W2
    bool ended_ = false;
};
}
