// timers: the 4-ary heap and its firing. The steps and the invariants are named in timers.hpp.
#include "timers.hpp"

#include <cassert>
#include <mutex>

namespace runnel::detail {

namespace {

constexpr std::size_t fan_out = 4;
}

/// What one hold of the lock found due, to be done after it.
struct timer_heap::due_batch {
    static constexpr std::size_t room = 64;

    struct act {
        task_block* task;
        std::uint64_t ticket;
        timer_callback* callback;
        late_wake wake;

        void perform() const noexcept {
            if (callback != nullptr)
                callback->run();
            else if (task != nullptr)
                finish_in_turn(*task, claim(*task, ticket, word_bits::code_of(ticket)));
            else if (wake.task != nullptr)
                finish_in_turn(*wake.task, wake.held ? claimed::won_held : claimed::won);
        }
    };

    void note_due(timer_node& node, nanoseconds_t now) noexcept {
        assert((node.task == nullptr) != (node.callback == nullptr) && "a node has a task or a callback");
        act& next = acts[count];
        next = {node.task, node.ticket, nullptr, {}};
        if (node.callback == nullptr || node.callback->tick(now, next.wake)) {
            ++count;
        } else if (node.callback->hold()) {
            next.callback = node.callback;
            ++count;
        }
    }

    void perform() const noexcept {
        for (std::size_t i = 0; i < count; ++i) acts[i].perform();
    }

    std::size_t count = 0;
    act acts[room];
};

timer_heap::~timer_heap() {
    const std::lock_guard guard(lock);
    for (const entry& left : entries_) {
        left.node->place = timer_node::unlinked;
        left.node->heap = nullptr;
    }
}

void timer_heap::insert(timer_node& node) {
    bool is_first = false;
    {
        const std::lock_guard guard(lock);
        is_first = link(node);
    }
    if (is_first) wake_owner();
}

bool timer_heap::remove(timer_node& node) noexcept {
    const std::lock_guard guard(lock);
    return unlink(node);
}

bool timer_heap::link(timer_node& node) {
    assert(node.place == timer_node::unlinked && "H1: linked twice");
    node.heap = this;
    if (node.when == no_deadline) return false;
    entries_.emplace_back();  // may throw: nothing has changed
    node.sequence = sequence_++;
    sift_up({node.when, &node}, entries_.size() - 1);
    publish();
    return node.place == 0;
}

bool timer_heap::unlink(timer_node& node) noexcept {
    if (node.place == timer_node::unlinked) return false;
    take_out(node);
    publish();
    return true;
}

void timer_heap::take_out(timer_node& node) noexcept {
    const std::size_t hole = node.place;
    assert(entries_[hole].node == &node && "H1: a node of another heap");
    node.place = timer_node::unlinked;
    const entry last = entries_.back();
    entries_.pop_back();
    if (hole < entries_.size()) {
        if (hole > 0 && before(last, entries_[(hole - 1) / fan_out]))
            sift_up(last, hole);
        else
            sift_down(last, hole);
    }
}

void timer_heap::wake_owner() noexcept {
    if (owner_ == nullptr || (tls_worker != nullptr && &current_timers() == this)) return;
    owner_->wake();
}

unsigned timer_heap::fire_due(nanoseconds_t now) noexcept {
    unsigned fired = 0;
    while (earliest() <= now) {
        due_batch batch;
        take_due(now, batch);
        batch.perform();
        fired += static_cast<unsigned>(batch.count);
    }
    return fired;
}

std::size_t timer_heap::size() noexcept {
    const std::lock_guard guard(lock);
    return entries_.size();
}

void timer_heap::take_due(nanoseconds_t now, due_batch& batch) noexcept {
    const std::lock_guard guard(lock);
    while (batch.count < due_batch::room && !entries_.empty() && entries_.front().when <= now) {
        timer_node& node = *entries_.front().node;
        take_out(node);
        batch.note_due(node, now);  // may link it again: a ticker does
    }
    publish();  // not before (H3): the owner, about to sleep, could miss what is linked again
}

bool timer_heap::before(const entry& a, const entry& b) noexcept {
    if (a.when != b.when) [[likely]]
        return a.when < b.when;
    return static_cast<std::int32_t>(a.node->sequence - b.node->sequence) < 0;  // H2
}

void timer_heap::put(entry moved, std::size_t place) noexcept {
    entries_[place] = moved;
    moved.node->place = static_cast<std::uint32_t>(place);
}

void timer_heap::sift_up(entry moved, std::size_t place) noexcept {
    while (place > 0) {
        const std::size_t parent = (place - 1) / fan_out;
        if (!before(moved, entries_[parent])) break;
        put(entries_[parent], place);
        place = parent;
    }
    put(moved, place);
}

void timer_heap::sift_down(entry moved, std::size_t place) noexcept {
    while (place * fan_out + 1 < entries_.size()) {
        const std::size_t child = first_child(place);
        if (!before(entries_[child], moved)) break;
        put(entries_[child], place);
        place = child;
    }
    put(moved, place);
}

/// The earliest child of a place that has one.
std::size_t timer_heap::first_child(std::size_t parent) const noexcept {
    std::size_t first = parent * fan_out + 1;
    const std::size_t end = first + fan_out < entries_.size() ? first + fan_out : entries_.size();
    for (std::size_t child = first + 1; child < end; ++child)
        if (before(entries_[child], entries_[first])) first = child;
    return first;
}

void timer_heap::publish() noexcept {
    // relaxed: see earliest().
    earliest_.store(entries_.empty() ? no_deadline : entries_.front().when, std::memory_order_relaxed);
}

void start_timer(timer_node& node) noexcept { current_timers().insert(node); }

void stop_timer(timer_node& node) noexcept {
    if (node.heap != nullptr) node.heap->remove(node);
}
}
