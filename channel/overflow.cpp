// overflow: what a send does when there is no room, if it is not to wait; and what it then has to tell.
//
//   1  under the lock (overflowed()): decide, move what is dropped into a spare cell, and note it in the send (V3);
//   2  when its wait has ended (settle_fate()): give that to the hook, end it, and put the cell back.
//
//   O1  who does not wait never stands in the queue of senders: so when there is no room, nobody waits to send;
//   O2  no hook and no end of a value runs under the lock (K2);
//   O3  there are as many spare cells as sends have been at step 2 at the same time, so in the long run none is
//       allocated. When there is no memory for one, the new value is dropped instead of the oldest;
//   O4  who reserves does not wait either: without room it is told so, and drops nothing. A place that is held is taken
//       for no other value; when all of them are held there is no oldest, and the new value is dropped instead.
#include <algorithm>
#include <mutex>
#include <new>
#include <utility>

#include "core.hpp"

namespace runnel::detail {

/// Under the lock, when there is no room. False: it waits.
bool channel_core::overflowed(send_case& sender) noexcept {
    switch (settings_.when_full) {
        case overflow::wait:
            return false;
        case overflow::fail:
            sender.fate_ = send_fate::full;
            return true;
        case overflow::drop_oldest:
        case overflow::keep_latest:
            drop_oldest(sender);
            return true;
        case overflow::drop_newest:
            break;
        case overflow::close:
            note_closed(errc::too_slow);
            sender.fate_ = send_fate::closed_it;
            return true;
    }
    drop_newest(sender);
    return true;
}

void channel_core::drop_newest(send_case& sender) noexcept {
    sender.spare_ = std::exchange(sender.node_.slot, nullptr);
    sender.fate_ = send_fate::newest;
    ++sent_;
    ++dropped_;
}

void channel_core::drop_oldest(send_case& sender) noexcept {
    void* const spare = ring_.count() != 0 ? take_spare() : nullptr;
    if (spare == nullptr) return drop_newest(sender);
    ring_.exchange(spare, sender.node_.slot, count_and_look_at_clock());
    sender.node_.slot = nullptr;
    sender.spare_ = spare;
    sender.fate_ = send_fate::oldest;
    ++sent_;
    ++dropped_;
}

/// Under the lock: O3.
void* channel_core::take_spare() noexcept {
    if (spares_ != nullptr) return std::exchange(spares_, *static_cast<void**>(spares_));
    return ::operator new(std::max(type_.bytes, sizeof(void*)), std::nothrow);
}

/// After a value has come: is that to be told?
bool channel_core::reached_level() noexcept {
    return ring_.count() >= settings_.soft_limit && !std::exchange(above_soft_limit_, true);
}

void channel_core::note_level(send_case& sender) noexcept {
    if (reached_level()) sender.fate_ = send_fate::level;
}

/// After a value has gone.
void channel_core::tend() noexcept {
    if (ring_.count() == 0 && reserved_ == 0 && (settings_.grows || capacity_ == unbounded))
        ring_.give_back();
    if (2 * ring_.count() < settings_.soft_limit) above_soft_limit_ = false;
}

void channel_core::tell(send_case& sender) noexcept {
    switch (sender.fate_) {
        case send_fate::plain:
        case send_fate::full:
            return;
        case send_fate::newest:
            if (settings_.on_drop != nullptr) settings_.on_drop->run(sender.spare_, dropped::newest);
            return;
        case send_fate::oldest: {
            if (settings_.on_drop != nullptr) settings_.on_drop->run(sender.spare_, dropped::oldest);
            type_.destroy(sender.spare_);
            const std::lock_guard guard(lock);
            *static_cast<void**>(sender.spare_) = spares_;
            spares_ = sender.spare_;
            return;
        }
        case send_fate::closed_it:
            wake_all();
            return;
        case send_fate::level:
            tell_level();
            return;
    }
}

sent send_case::settle_fate() noexcept {
    core_->tell(*this);
    if (fate_ == send_fate::full) return fail(errc::full);
    return went_through() ? sent() : fail(why());
}
}
