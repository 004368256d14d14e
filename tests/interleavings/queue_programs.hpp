// queue_programs: small programs about the queues and the lock: who pushes, pops and steals what, at the same time.
//
// Each piece of work carries memory that is not atomic, written before it is pushed and read by who takes it; each is
// taken once.
#pragma once

#include <cstddef>
#include <iterator>

#include "model.hpp"

namespace runnel::detail {
/// The deque moves pointers to these; what the library has in them is of no concern here.
struct fork_branch {
    interleavings::plain<int> filled;
    unsigned taken = 0;
};
}

#include <runnel/detail/spin_lock.hpp>
#include "runtime/fork_deque.hpp"
#include "runtime/injector.hpp"
#include "runtime/run_queue.hpp"

namespace interleavings {

using runnel::detail::fork_branch;
using runnel::detail::fork_deque;
using runnel::detail::injector;
using runnel::detail::run_queue;
using runnel::detail::spin_lock;
using runnel::detail::task_block;

struct job : task_block {
    plain<int> filled;
    unsigned taken_times = 0;
};

inline job& filled(job& work) {
    work.filled.set(1);
    return work;
}
inline void take(task_block* task) {
    if (task == nullptr) return;
    job& work = static_cast<job&>(*task);
    expect(++work.taken_times == 1, "a task was handed out twice");
    expect(work.filled.get() == 1, "a task was taken that nobody has filled");
    work.filled.set(2);  // a second taker would race
}
template <std::size_t Count>
void expect_all_taken(const job (&all)[Count]) {
    for (const job& each : all) expect(each.taken_times == 1, "a task was lost");
}

/// The owner pushes and pops; one steals; a third steals from both.
class owner_and_thieves final : public program {
public:
    explicit owner_and_thieves(unsigned thieves) : thieves_(thieves) {}
    unsigned threads() const override { return 1 + thieves_; }
    bool stores_after_loads() const override { return true; }
    void thread(unsigned index) override {
        if (index == 0) {
            queues_[0].push(filled(all_[0]));
            queues_[0].push(filled(all_[1]));
            take(queues_[0].pop());
            queues_[0].push(filled(all_[2]));
            queues_[0].push(filled(all_[3]));
            take(queues_[0].pop());
            return;
        }
        queues_[0].steal_into(queues_[index]);
        take(queues_[index].pop());
        if (index == 2) queues_[1].steal_into(queues_[2]);
        take(queues_[index].pop());
    }
    void at_end() override {
        for (run_queue& each : queues_)
            while (task_block* const task = each.pop()) take(task);
        expect_all_taken(all_);
    }

private:
    const unsigned thieves_;
    run_queue queues_[3];
    job all_[4];
};

/// The queue is full but for one, and its ring is about to wrap. What does not go in while a thief copies goes
/// elsewhere, with the older half, as in worker.cpp.
class full_queue final : public program {
public:
    explicit full_queue(unsigned thieves) : thieves_(thieves) {
        for (std::size_t i = 0; i < run_queue::capacity / 2; ++i) {
            queue_.push(all_[0]);
            queue_.pop();
        }
        for (std::size_t i = 0; i + 1 < run_queue::capacity; ++i) queue_.push(filled(all_[i]));
    }
    unsigned threads() const override { return 1 + thieves_; }
    bool stores_after_loads() const override { return true; }
    void thread(unsigned index) override {
        if (index == 0) {
            push(all_[run_queue::capacity - 1]);
            push(all_[run_queue::capacity]);
            take(queue_.pop());
            push(all_[run_queue::capacity + 1]);
        } else {
            queue_.steal_into(thief_[index - 1]);
            take(thief_[index - 1].pop());
        }
    }
    void at_end() override {
        for (run_queue* const each : {&queue_, &thief_[0], &thief_[1]})
            while (task_block* const task = each->pop()) take(task);
        expect_all_taken(all_);
    }

private:
    void push(job& work) {
        if (queue_.push(filled(work))) return;
        task_block* half[run_queue::capacity / 2 + 1];
        const std::uint32_t count = queue_.pop_half(half);
        for (std::uint32_t i = 0; i < count; ++i) take(half[i]);
        take(&work);
    }

    const unsigned thieves_;
    run_queue queue_;
    run_queue thief_[2];
    job all_[run_queue::capacity + 2];
};

/// A thief's own ring is full, until another steals from it; then the first writes where that one has read.
class two_rings final : public program {
public:
    two_rings() {
        std::size_t next = 0;
        for (std::size_t i = 0; i < run_queue::capacity; ++i) middle_.push(filled(all_[next++]));
        for (std::size_t i = 0; i < more; ++i) from_.push(filled(all_[next++]));
    }
    unsigned threads() const override { return 2; }
    bool stores_after_loads() const override { return true; }
    void thread(unsigned index) override {
        if (index == 0)
            from_.steal_into(middle_);
        else
            middle_.steal_into(to_);
    }
    void at_end() override {
        for (run_queue* const each : {&from_, &middle_, &to_})
            while (task_block* const task = each->pop()) take(task);
        expect_all_taken(all_);
    }

private:
    static constexpr std::size_t more = 8;
    run_queue from_;
    run_queue middle_;
    run_queue to_;
    job all_[run_queue::capacity + more];
};

/// The owner and thieves meet at the last branch, again and again.
class last_branch final : public program {
public:
    explicit last_branch(unsigned thieves) : thieves_(thieves) {}
    unsigned threads() const override { return 1 + thieves_; }
    void thread(unsigned index) override {
        if (index == 0) {
            push(0);
            push(1);
            take(forks_.pop());
            take(forks_.pop());
            push(2);
            take(forks_.pop());
        } else {
            take(forks_.steal());
            take(forks_.steal());
        }
    }
    void at_end() override {
        while (fork_branch* const branch = forks_.pop()) take(branch);
        for (const fork_branch& each : all_) expect(each.taken == 1, "a branch was lost");
        expect(forks_.empty() && forks_.size() == 0, "an empty deque says that it is not");
    }

private:
    void push(std::size_t index) {
        all_[index].filled.set(1);
        expect(forks_.push(all_[index]), "a deque with room says that it is full");
        if (forks_.newest_is(all_[index])) return;
        expect(forks_.empty(), "the newest branch is another");
    }
    static void take(fork_branch* branch) {
        if (branch == nullptr) return;
        expect(++branch->taken == 1, "a branch was handed out twice");
        expect(branch->filled.get() == 1, "a branch was taken that nobody has filled");
        branch->filled.set(2);
    }

    const unsigned thieves_;
    fork_deque forks_;
    fork_branch all_[3];
};

/// The deque is full until a thief has taken the oldest; then the owner writes where that one has read.
class full_deque final : public program {
public:
    full_deque() {
        for (std::size_t i = 0; i < std::size(all_) - 1; ++i) push(i);
    }
    unsigned threads() const override { return 2; }
    bool stores_after_loads() const override { return true; }
    void thread(unsigned index) override {
        if (index == 0)
            pushed_ = push(std::size(all_) - 1);
        else
            stolen_ = forks_.steal();
    }
    void at_end() override {
        expect(stolen_ == &all_[0], "a thief that was alone with it did not get the oldest branch");
        std::size_t left = 0;
        while (forks_.pop() != nullptr) ++left;
        expect(left + 1 == std::size(all_) - !pushed_, "a branch was lost");
    }

private:
    bool push(std::size_t index) {
        all_[index].filled.set(1);
        return forks_.push(all_[index]);
    }
    fork_deque forks_;
    fork_branch all_[fork_deque::capacity + 1];
    fork_branch* stolen_ = nullptr;
    bool pushed_ = false;
};

/// Two push, one of them a batch; two take.
class pushers_and_takers final : public program {
public:
    unsigned threads() const override { return 3; }
    void thread(unsigned index) override {
        task_block* out[2];
        if (index == 0) {
            queue_.push(filled(all_[0]));
            take_all(out, queue_.pop(out, 1));
        } else if (index == 1) {
            task_block* const batch[] = {&filled(all_[1]), &filled(all_[2])};
            queue_.push(batch, 2);
        } else {
            take_all(out, queue_.pop(out, 2));
            take_all(out, queue_.pop(out, 1));
        }
    }
    void at_end() override {
        task_block* out[3];
        const std::uint32_t left = queue_.size();
        expect(queue_.pop(out, 3) == left, "the injector's size is not what is in it");
        take_all(out, left);
        expect_all_taken(all_);
        expect(queue_.size() == 0, "an empty injector says that it is not");
    }

private:
    static void take_all(task_block** tasks, std::uint32_t count) {
        for (std::uint32_t i = 0; i < count; ++i) take(tasks[i]);
    }
    injector queue_;
    job all_[3];
};

/// Three count under one lock; the last of them only tries.
class counters final : public program {
public:
    explicit counters(unsigned waiting, bool trying) : waiting_(waiting), trying_(trying) {}
    unsigned threads() const override { return waiting_ + trying_; }
    void thread(unsigned index) override {
        for (int round = 0; round < 2; ++round) {
            if (index < waiting_)
                lock_.lock();
            else if (!lock_.try_lock())
                continue;
            expect(++inside_ == 1, "two have the lock");
            sum_.set(sum_.get() + 1);
            looked_.load(std::memory_order_relaxed);  // so that others have a chance to come in
            --inside_;
            ++expected_;
            lock_.unlock();
        }
    }
    void at_end() override {
        expect(sum_.get() == expected_, "a count was lost");
        expect(expected_ >= static_cast<int>(2 * waiting_), "who waits for the lock did not get it");
        expect(lock_.try_lock(), "a lock that nobody holds is taken");
    }

private:
    const unsigned waiting_;
    const bool trying_;
    spin_lock lock_;
    int inside_ = 0;
    int expected_ = 0;
    plain<int> sum_;
    runnel::detail::atomic<int> looked_{0};
};

/// Two say something, each under a lock of its own, and then look without a lock at what the other says: one at least
/// sees it, or that it is being said. A third one makes the first wait for its lock.
class lookers final : public program {
public:
    unsigned threads() const override { return 3; }
    void thread(unsigned index) override {
        spin_lock& mine = locks_[index % 2];
        if (index == 1)
            expect(mine.try_lock(), "a lock that nobody else takes is taken");
        else
            mine.lock();
        if (index < 2) said_[index].store(true, std::memory_order_release);
        mine.unlock();
        if (index == 2) return;
        sees_[index] = !locks_[1 - index].looks_free() || said_[1 - index].load(std::memory_order_acquire);
    }
    void at_end() override { expect(sees_[0] || sees_[1], "neither sees what the other has said before"); }

private:
    spin_lock locks_[2];
    runnel::detail::atomic<bool> said_[2]{};
    bool sees_[2]{};
};
}
