// See orphans.hpp, whose steps and invariants are named here.
#include "orphans.hpp"

#include <malloc.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <utility>
#include <vector>

#include <runnel/task.hpp>
#include "context_node.hpp"
#include "deadlock.hpp"
#include "runtime_core.hpp"
#include "task_dump.hpp"
#include "task_life.hpp"
#include "task_slab.hpp"

namespace runnel::detail {

namespace {
struct stretch_of_memory {
    std::uintptr_t begin, end;
    bool has(std::uintptr_t address) const noexcept { return begin <= address && address < end; }
};

struct seen_task {
    task_block* block = nullptr;
    std::uint64_t id = 0;
    std::uint64_t word = 0;                             // while it is the same the task has not run
    std::vector<stretch_of_memory> frames = {};         // the outermost first
    std::vector<const void*> channels = {};             // that it waits for
    bool candidate = false;                             // becomes false when it is struck out
    std::map<const void*, std::uint32_t> handles = {};  // in its frames
    std::set<std::size_t> refers_to = {};               // candidates: their places in the list
};

/// A word of somebody's frame, whatever it is. Sanitizers would call some of them dead.
__attribute__((no_sanitize("address", "thread", "undefined"))) std::uintptr_t word_at(
    std::uintptr_t address) noexcept {
    return *reinterpret_cast<const volatile std::uintptr_t*>(address);
}

class search {
public:
    explicit search(const runtime_core& core) : core_(core) {}

    std::optional<std::set<std::uint64_t>> run() {
        const std::uint64_t turns = turns_taken(core_);
        if (core_.live() == 0 || !has_candidates()) return std::set<std::uint64_t>();
        bool quiet = true;
        for_each_block([&](task_block& block) { quiet = quiet && first_look(block); });
        if (!quiet) return std::nullopt;
        std::set<std::uint64_t> orphans;
        if (channels_.empty()) return orphans;
        gather_frames_of_candidates();
        for (seen_task& each : tasks_) quiet = quiet && second_look(each);
        if (!quiet || turns_taken(core_) != turns) return std::nullopt;  // O3
        while (strike_out()) {}
        for (const seen_task& each : tasks_)
            if (each.candidate) orphans.insert(each.id);
        return orphans;
    }

private:
    /// In a simulation nothing runs while this does, so those that are ready can be read as well.
    bool all_stand_still() const noexcept { return core_.workers[0]->steered_by() != nullptr; }

    /// Calls read() while the task cannot run. False: it can, or its block has become another's meanwhile.
    template <class Read>
    bool while_held(task_block& task, Read read) {
        const bool held = hold(task);
        const bool stands_still = is_live(task, core_) && (held || all_stand_still());
        if (stands_still) read(held);
        if (held) let_go(task);
        return stands_still;
    }

    /// Mostly there are none, and then nobody's frames are looked at.
    bool has_candidates() {
        for_each_block([&](task_block& task) {
            if (!channels_.empty() || !is_live(task, core_)) return;
            seen_task none{};
            while_held(task, [&](bool waits) {
                if (waits && task.kind != task_kind::thread) add_channels(task, none);
            });
        });
        return !std::exchange(channels_, {}).empty();
    }

    /// Steps 1 and 2.
    bool first_look(task_block& task) {
        if (!is_live(task, core_)) return true;
        seen_task seen{&task, task.id};
        const bool quiet = while_held(task, [&](bool waits) {
            seen.word = task.word.load() & ~word_bits::held;
            if (task.kind == task_kind::thread) return;
            add_frames(task, seen);
            if (waits) add_channels(task, seen);
        });
        if (quiet) tasks_.push_back(std::move(seen));
        return quiet;
    }

    static void add_frames(const task_block& task, seen_task& seen) {
        std::vector<std::uintptr_t> chain;
        for (std::coroutine_handle<> frame = task.leaf; frame; frame = promise_of(frame).continuation)
            chain.push_back(reinterpret_cast<std::uintptr_t>(frame.address()));
        for (auto each = chain.rbegin(); each != chain.rend(); ++each) {
            // A compiler may put a coroutine's frame into that of who awaits it. Else it is one malloc (F1).
            const auto within = [&](const stretch_of_memory& other) { return other.has(*each); };
            if (std::any_of(seen.frames.begin(), seen.frames.end(), within)) continue;
            const std::size_t size = ::malloc_usable_size(reinterpret_cast<void*>(*each));
            seen.frames.push_back({*each, *each + size});
        }
    }

    /// Of a task that is held.
    void add_channels(const task_block& task, seen_task& seen) {
        // relaxed: hold() acquired.
        if ((task.word.load(std::memory_order_relaxed) & word_bits::state_mask) == word_bits::armed_io)
            return;
        // relaxed: hold() acquired.
        const context_node& ctx = *task.ctx.load(std::memory_order_relaxed);
        wait_case* cases[cases_max];
        const std::size_t count = waits_of(task, cases, cases_max);
        if (count == 0 || count > cases_max || ctx.deadline != no_deadline) return;
        std::vector<handles_of> all;
        for (std::size_t i = 0; i < count; ++i) {
            all.push_back(cases[i]->subject().handles);
            if (all.back().object == nullptr) return;
        }
        seen.candidate = true;
        for (const handles_of& each : all) {
            channels_.insert_or_assign(each.object, each);
            seen.channels.push_back(each.object);
        }
    }

    /// Step 3.
    bool second_look(seen_task& seen) {
        if (!is_live(*seen.block, core_)) return false;
        bool same = false;
        const bool quiet = while_held(*seen.block, [&](bool) {
            same = seen.word == (seen.block->word.load() & ~word_bits::held);
            if (!same) return;
            for (const stretch_of_memory& each : seen.frames) look_through(each, seen);
        });
        return quiet && same;
    }

    void look_through(const stretch_of_memory& frame, seen_task& seen) {
        constexpr std::size_t step = sizeof(std::uintptr_t);
        for (std::uintptr_t at = frame.begin; at + step <= frame.end; at += step) {
            const std::uintptr_t word = word_at(at);
            if (const auto channel = channels_.find(reinterpret_cast<const void*>(word));
                channel != channels_.end() && at + 2 * step <= frame.end &&
                static_cast<std::uint16_t>(word_at(at + step)) == channel->second.mark)
                ++seen.handles[channel->first];
            note_reference(word, seen);
        }
    }

    void gather_frames_of_candidates() {
        for (std::size_t i = 0; i < tasks_.size(); ++i)
            if (tasks_[i].candidate)
                for (const stretch_of_memory& frame : tasks_[i].frames) frames_[frame.begin] = {frame, i};
    }

    void note_reference(std::uintptr_t word, seen_task& from) {
        if (word < frames_.begin()->first) return;
        const auto& [frame, owner] = std::prev(frames_.upper_bound(word))->second;
        if (frame.has(word) && &tasks_[owner] != &from) from.refers_to.insert(owner);
    }

    /// Step 4, once over all. False: nobody had to be struck out.
    bool strike_out() {
        std::map<const void*, std::uint32_t> found;
        std::set<std::size_t> reachable;
        for (const seen_task& each : tasks_) {
            if (each.candidate)
                for (const auto& [channel, count] : each.handles) found[channel] += count;
            else
                reachable.insert(each.refers_to.begin(), each.refers_to.end());
        }
        bool changed = false;
        for (std::size_t i = 0; i < tasks_.size(); ++i) {
            seen_task& task = tasks_[i];
            if (!task.candidate) continue;
            const bool all_here =
                std::all_of(task.channels.begin(), task.channels.end(),
                            [&](const void* each) { return found[each] == channels_.at(each).count; });
            task.candidate = all_here && !reachable.contains(i);
            changed = changed || !task.candidate;
        }
        return changed;
    }

    const runtime_core& core_;
    std::vector<seen_task> tasks_;
    std::map<const void*, handles_of> channels_;                                  // that candidates wait for
    std::map<std::uintptr_t, std::pair<stretch_of_memory, std::size_t>> frames_;  // of which candidate
};
}

std::optional<std::set<std::uint64_t>> find_orphans(const runtime_core& core) { return search(core).run(); }
}
