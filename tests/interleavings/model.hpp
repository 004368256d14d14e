// model: what threads, atomics and futexes are while the explorer runs a small program.
//
// The parts under test are compiled as they are in the tree, but for `runnel::detail::atomic`, which is the one
// below. Threads are fibers of one thread. Each access to an atomic, each call of the futex and each end of a
// thread is a point at which another thread may go on; which one, and which value a load reads, a decider says.
//
//   1  point(): the decider names the thread whose access is next; that one goes on.
//   2  A location keeps all its stores, in the order in which they were made: its modification order.
//   3  A thread has a view: per location the oldest store that it may still read, per thread how much of it has
//      happened before. A load may read any store from there on; what it reads, it and those who acquire from it
//      never go back behind (coherence).
//   4  A store with release carries the view of its thread; a load with acquire that reads it takes the view over.
//      A read-modify-write reads the last store, and carries on what that one carried (release sequence).
//   5  The total order of the seq_cst accesses is the order in which they are made: none reads a store older than
//      the last that a seq_cst access to that location has stored or read.
//   6  An access to a plain<T> that another thread has written (or read, for a write), and not before this one in
//      the sense of 3, is a race, and a failure.
//   7  A thread that reads the same store at the same place again and again spins: it goes on when there is another.
//      One that has made many accesses in a row gives way, for it may wait for another in a longer loop: fairness.
//   8  Nobody can go on: the program says whether that is rest or a failure.
//
//   W1  every behaviour shown is one that C++20 allows: what fails here can fail;
//   W2  not shown are: load buffering (a load that reads what is stored later in the order of execution) and values
//       out of thin air; a store that goes into the modification order before one that was made already; an order
//       of the seq_cst accesses other than that of execution; weak CAS that fails for no reason; what a
//       compiler does to plain accesses; locations that end, or begin, while the program runs.
//   W3  the futex: its kernel side sees what a waker saw before an earlier FUTEX_WAKE, and publishes nothing. A wait
//       may return for no reason once per thread; one with a deadline may time out whenever it sleeps.
//
// A *fault* makes the order given at one place of the source weaker, or leaves a FUTEX_WAKE out.
// Not taken: real threads that hand over a baton (a hundred times slower); a list of all executions of the axioms
// instead of an order of steps (it has no interleaving to print); a library (the one for C++20 has no futex).
#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <source_location>
#include <string>
#include <type_traits>
#include <vector>

#include "fiber.hpp"

struct timespec;

namespace interleavings {

using value = std::uint64_t;
using order = std::memory_order;
using place = std::source_location;

inline constexpr unsigned threads_max = 4;
inline constexpr unsigned locations_max = 1000;

/// A small program: threads that meet in a structure. Built before they start, outside the model.
class program {
public:
    virtual ~program() = default;
    virtual unsigned threads() const = 0;
    virtual void thread(unsigned index) = 0;
    /// All threads have ended: expect() what must hold.
    virtual void at_end() {}
    /// Nobody can go on. Null: as it should be, at_end() follows.
    virtual const char* at_rest() { return "nobody can go on"; }
    /// How many accesses a thread makes in a row, at most, while others could go on.
    virtual unsigned patience() const { return 1'000; }
    /// Is each relaxed store to come after what other threads have loaded before from there, in the sense of 3? If not,
    /// a machine may let them read it: the load buffering that is not shown (W2).
    virtual bool stores_after_loads() const { return false; }
};

/// Says who is next and what a load reads.
class decider {
public:
    virtual ~decider() = default;
    virtual void begin(unsigned /*threads*/) {}
    /// One of the bits of `ready`. `running`: who has just gone, -1 when that one cannot go on.
    virtual unsigned thread(unsigned ready, int running) = 0;
    /// The same, when `running` has gone on for so long that another has to: fairness.
    virtual unsigned other(unsigned ready, unsigned running) = 0;
    /// Below `count`, which is at least 2: 0 for the newest store.
    virtual unsigned pick(unsigned count) = 0;
};

/// Which of the orders of an access: that of a CAS that fails is one of its own.
enum class side : unsigned char { main, failure };

/// An access to an atomic in the source, as run into.
struct site {
    std::string name;  // "run_queue::push load acquire", with #2 and so on when there are several
    std::string file;
    unsigned line = 0;
    unsigned column = 0;
    side which = side::main;
    order strength = order::relaxed;
    enum class kind : unsigned char { load, store, both } does = kind::load;
};

struct fault {
    struct weakened {
        const site* at = nullptr;
        order to = order::relaxed;
        bool is(place where, side which) const {
            return at->line == where.line() && at->column == where.column() && at->which == which &&
                   at->file == where.file_name();
        }
    };
    weakened one = {};
    weakened another = {};  // with the first: two that cover each other
    bool no_wake = false;
};

class model {
public:
    /// What became of a run. `what` is null when nothing failed.
    struct outcome {
        const char* what = nullptr;
        unsigned steps = 0;
    };

    /// From the first step of `small` to its end.
    outcome run(program& small, decider& by);
    bool running() const { return running_; }
    /// Which thread asks. Only while it runs.
    unsigned self() const { return now_; }

    // --- Before a run ---
    fault wrong;                        // what is wrong in this run
    std::vector<site>* seen = nullptr;  // collects the sites that are run into
    std::vector<std::string>* trace = nullptr;
    unsigned steps_max = 20'000;

    // --- What the threads do ---
    value load(const void* at, unsigned bytes, order how, place where);
    void store(void* at, unsigned bytes, value what, order how, place where);
    enum class change : unsigned char { exchange, add, sub };
    value modify(void* at, unsigned bytes, change which, value by, order how, place where);
    bool compare_exchange(void* at, unsigned bytes, value& expected, value wanted, order how, order failing,
                          place where);
    void plain_read(const void* at);
    void plain_write(const void* at);
    long futex_wait(const void* at, std::uint32_t expected, bool timed);
    long futex_wake(const void* at, std::uint32_t most);
    /// The program's assertion; does not return from a failure while it runs.
    void expect(bool holds, const char* what) {
        if (!holds) fail(what);
    }

private:
    using stamp = std::uint16_t;  // of a store in its location, or of a thread's own time
    struct stored {
        value what;
        std::uint32_t view_at;  // in views_; what an acquire of it takes over
        std::uint16_t view_size;
        std::uint16_t by;
    };
    struct location {
        const void* home = nullptr;
        unsigned bytes = 0;
        unsigned number = 0;
        stamp seq_cst = 0;    // the oldest that a seq_cst access may read
        stamp kernel = 0;     // the oldest that a FUTEX_WAIT may read
        unsigned writer = 0;  // of a plain one: who wrote it last and when
        stamp written = 0;
        stamp read[threads_max] = {};
        std::vector<stored> stores;
    };
    enum class state : unsigned char { ready, spins, sleeps, dozes, ended };  // dozes: sleeps with a deadline
    struct thread {
        fiber stack;
        stamp view[threads_max + locations_max];
        state is = state::ended;
        bool chosen = false;  // it may make its next access without asking
        bool timed_out = false;
        bool may_wake_early = false;
        const location* waits_at = nullptr;
        // The last access, when it was a load: to know a spin by.
        const location* looked_at = nullptr;
        unsigned line = 0;
        unsigned looks = 0;
        stamp saw = 0;
    };
    static constexpr unsigned looks_before_spin = 4;
    static constexpr std::size_t table_size = 4096;

    static void body();
    void forget();
    void begin_threads();
    void write_back();
    void point();
    void next_thread();
    void leave(state for_what, const location* at);
    void arrive_at(unsigned next);
    void wake_spinners(const location& at);
    [[noreturn]] void stop();
    void fail(const char* what);

    location& find(const void* at, unsigned bytes);
    stored& append(location& at, value what);
    void publish(stored& into, bool release, const stored* continued);
    void acquire(const stored& from);
    order actual(order given, place where, side which, site::kind does);
    void note_site(order given, place where, side which, site::kind does);
    void note(const char* what, order how, place where, const location& at, value read, value written,
              unsigned old = 0);
    unsigned choose_store(location& at, stamp floor);

    program* small_ = nullptr;
    decider* by_ = nullptr;
    bool running_ = false;
    unsigned count_ = 0;
    unsigned now_ = 0;
    unsigned ready_ = 0;  // a bit for each thread
    unsigned width_ = 0;  // of views: threads and locations up to now
    unsigned steps_ = 0;
    unsigned in_a_row_ = 0;
    unsigned patience_ = 0;
    bool stores_after_loads_ = false;
    const char* failed_ = nullptr;
    fiber home_;
    thread threads_[threads_max];
    std::vector<location> locations_;
    unsigned known_ = 0;
    std::vector<stamp> views_;
    struct entry {
        const void* at = nullptr;
        std::uint32_t round = 0;
        std::uint32_t number = 0;
    };
    std::vector<entry> table_ = std::vector<entry>(table_size);
    std::uint32_t round_ = 0;
};

/// The only one: one program runs at a time.
inline model the_model;

inline void expect(bool holds, const char* what) { the_model.expect(holds, what); }

/// A member that is not atomic, whose races are found. Outside a run it is a T.
template <class T>
class plain {
public:
    plain() = default;
    explicit plain(T what) : value_(what) {}
    T get() const {
        if (the_model.running()) the_model.plain_read(this);
        return value_;
    }
    void set(T what) {
        if (the_model.running()) the_model.plain_write(this);
        value_ = what;
    }

private:
    T value_{};
};

/// The arithmetic of a read-modify-write of so many bytes.
constexpr value changed(value before, model::change which, value by, unsigned bytes) {
    const value all = which == model::change::exchange ? by
                      : which == model::change::add    ? before + by
                                                       : before - by;
    return bytes == sizeof(value) ? all : all & ((value{1} << 8 * bytes) - 1);
}

constexpr order failure_of(order how) {
    return how == order::acq_rel ? order::acquire : how == order::release ? order::relaxed : how;
}
}

namespace runnel::detail {

/// As std::atomic, of the same size and layout. Outside a run it is a T.
template <class T>
class atomic {
    using order = interleavings::order;
    using place = interleavings::place;
    using value = interleavings::value;
    static_assert(sizeof(T) <= sizeof(value) && std::is_trivially_copyable_v<T>);

public:
    static constexpr bool is_always_lock_free = true;
    constexpr atomic() noexcept = default;
    constexpr atomic(T what) noexcept : value_(what) {}
    atomic(const atomic&) = delete;
    atomic& operator=(const atomic&) = delete;

    T load(order how = order::seq_cst, place where = place::current()) const noexcept {
        if (!model().running()) return value_;
        return from(model().load(&value_, sizeof(T), how, where));
    }
    void store(T what, order how = order::seq_cst, place where = place::current()) noexcept {
        if (!model().running()) {
            value_ = what;
            return;
        }
        model().store(&value_, sizeof(T), to(what), how, where);
    }
    T exchange(T what, order how = order::seq_cst, place where = place::current()) noexcept {
        return modify(interleavings::model::change::exchange, what, how, where);
    }
    T fetch_add(T by, order how = order::seq_cst, place where = place::current()) noexcept {
        return modify(interleavings::model::change::add, by, how, where);
    }
    T fetch_sub(T by, order how = order::seq_cst, place where = place::current()) noexcept {
        return modify(interleavings::model::change::sub, by, how, where);
    }
    bool compare_exchange_strong(T& expected, T wanted, order how, order failing,
                                 place where = place::current()) noexcept {
        if (!model().running()) {
            const bool equal = value_ == expected;
            (equal ? value_ : expected) = equal ? wanted : value_;
            return equal;
        }
        value seen = to(expected);
        const bool done = model().compare_exchange(&value_, sizeof(T), seen, to(wanted), how, failing, where);
        if (!done) expected = from(seen);
        return done;
    }
    bool compare_exchange_strong(T& expected, T wanted, order how = order::seq_cst,
                                 place where = place::current()) noexcept {
        return compare_exchange_strong(expected, wanted, how, interleavings::failure_of(how), where);
    }
    bool compare_exchange_weak(T& expected, T wanted, order how, order failing,
                               place where = place::current()) noexcept {
        return compare_exchange_strong(expected, wanted, how, failing, where);
    }

private:
    static interleavings::model& model() { return interleavings::the_model; }
    static value to(T what) {
        value bits = 0;
        std::memcpy(&bits, &what, sizeof(T));
        return bits;
    }
    static T from(value bits) {
        T what{};
        std::memcpy(&what, &bits, sizeof(T));
        return what;
    }
    T modify(interleavings::model::change which, T by, order how, place where) {
        if (model().running()) return from(model().modify(&value_, sizeof(T), which, to(by), how, where));
        const T before = value_;
        value_ = from(interleavings::changed(to(before), which, to(by), sizeof(T)));
        return before;
    }

    T value_{};
};

// Found before the system's by the calls in futex_driver.cpp.
long syscall(long number, void* address, int operation, std::uint32_t number_or_value, const timespec* until,
             std::nullptr_t, unsigned mask) noexcept;
}
