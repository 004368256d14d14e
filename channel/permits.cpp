// permits: places of the ring that are held for values to come.
//
// Reserve
//   1  closed: say so. Capacity 0: there are no places; say so;
//   2  there is room beside the values and the places that are held: hold one more;
//   3  else queue up among those that wait to send, unless nobody waits in this channel (overflow.cpp).
// Send by a permit
//   1  nobody is left to receive: say so;
//   2  somebody waits to receive: give it the value. The place is free, and goes to the next that waits for one;
//   3  else the value goes to the end of the ring. (Its place has been left free: so a receiver that waits never has a
//      value in front of it, and a permit never waits.)
// Giving a place back: it goes to the next that waits for one.
//
//   P1  values and held places together never exceed the room of the ring, in memory too: so a permit cannot fail. They
//       do exceed a capacity that was lowered meanwhile;
//   P2  the slot of who waits for a place is null once it has one (V1), and else a mark: it is still wanted, or there
//       are none;
//   P3  values may come as long as a place is held, closed or not: who gives the last one up, or uses it, after the
//       close wakes the receivers that the close has left waiting;
//   P4  places are served with sends, first come first served. But a send for which a receiver waits needs no place, so
//       it passes by who waits for one; it cannot make it wait longer.
//
// Not taken: places as values of a kind of their own in the ring, so that a value would come in the order of the
// reservations: a receiver would wait behind a permit that nobody uses, with values there.
#include <mutex>
#include <utility>

#include <runnel/detail/held_place.hpp>
#include <runnel/detail/tracing.hpp>

#include "core.hpp"

namespace runnel::detail {

namespace {
// P2.
constinit char wanted;
constinit char there_are_none;

bool waits_for_a_place(const wait_node& node) noexcept { return node.slot == &wanted; }
}

// --- Reserving ---------------------------------------------------------------------------------

bool channel_core::reserve_now(wait_node& holder) noexcept {
    if (closed()) return true;
    if (capacity_ == 0) {
        holder.slot = &there_are_none;
        return true;
    }
    plain_ = false;
    if (!has_room()) return settings_.when_full != overflow::wait;
    let_in(holder);
    return true;
}

/// Under the lock: the room that there is goes to a send or to a reserver. It has been claimed, or waits for nothing.
void channel_core::let_in(wait_node& claimed) noexcept {
    if (!waits_for_a_place(claimed)) return push(claimed);
    reserved_ = reserved_ + 1;
    claimed.slot = nullptr;
}

/// Step 3 of a receive from a channel with places: who waits to send waits because they are all held. It may stand
/// behind reservers.
bool channel_core::recv_past_reservers(wait_node& receiver, late_wake& wake) noexcept {
    for (wait_node* node = senders_waiting.front(); node != nullptr;) {
        wait_node& each = *node;
        node = each.next;
        if (waits_for_a_place(each)) continue;
        assert((reserved_ >= capacity_ || !plain_) && "K1");
        senders_waiting.remove(each);
        if (!claim(each, wake)) continue;
        hand_over(each, receiver);
        return true;
    }
    return false;
}

/// Under the lock, when there are no places any more.
void channel_core::turn_away_reservers(claimed_tasks& woken) noexcept {
    for (wait_node* node = senders_waiting.front(); node != nullptr;) {
        wait_node& each = *node;
        node = each.next;
        if (!waits_for_a_place(each)) continue;
        senders_waiting.remove(each);
        if (woken.claim_popped(each)) each.slot = &there_are_none;
    }
}

reserve_case::reserve_case(channel_core* core) noexcept : channel_case(core) { node_.slot = &wanted; }

bool reserve_case::try_now(late_wake&) noexcept { return core_->reserve_now(node_); }

void reserve_case::enlist(task_block& task, std::uint64_t ticket) noexcept {
    core_->senders_waiting.enlist(node_, task, ticket);
}

bool reserve_case::delist() noexcept { return core_->senders_waiting.delist(node_); }

const char* reserve_case::done(const late_wake&) const noexcept {
    return went_through() ? "reserve" : "find no place";
}

held_place reserve_case::take() noexcept {
    node_.slot = &wanted;
    return held_place(*core_);
}

void reserve_case::give_back() noexcept { core_->give_back_place(); }

std::error_code reserve_case::why_not() noexcept {
    if (std::exchange(node_.slot, &wanted) == &there_are_none) return errc::no_places;
    const std::error_code closed = why();
    return closed ? closed : make_error_code(errc::full);
}

// --- A place that is held ----------------------------------------------------------------------

std::error_code channel_core::send_reserved(void* value) noexcept {
    wait_node from;
    from.slot = value;
    std::error_code gone;
    late_wake receiver;
    late_wake next;
    bool told_all = false;
    bool high = false;
    {
        const std::lock_guard guard(lock);
        assert(reserved_ > 0 && "P1");
        reserved_ = reserved_ - 1;
        told_all = drained();
        if (!joint_ && receivers_ == 0) {
            gone = closed() ? cause_
                            : make_error_code(errc::closed);  // the last has gone, and is about to close it
        } else if (wait_node* const to = claim_first(receivers_waiting, receiver)) {
            assert(ring_.count() == 0 && "K1");
            hand_over(from, *to);
            move_up(next);
            if (tended_) tend();
        } else {
            push(from);
        }
        high = tended_ && reached_level();
    }
    if (traced()) [[unlikely]]
        trace_done("send by a permit", *this, made);
    finish(receiver);
    finish(next);
    if (told_all) wake_all();  // P3
    if (high) tell_level();
    return gone;
}

void channel_core::give_back_place() noexcept {
    late_wake next;
    bool told_all = false;
    bool high = false;
    {
        const std::lock_guard guard(lock);
        assert(reserved_ > 0 && "P1");
        reserved_ = reserved_ - 1;
        told_all = drained();
        move_up(next);
        if (tended_) tend();
        high = tended_ && reached_level();
    }
    finish(next);
    if (told_all) wake_all();  // P3
    if (high) tell_level();
}

held_place::held_place(channel_core& of) noexcept
    : core_(&of), kind_(of.is_joint() ? end_kind::joint : end_kind::weak) {
    of.add(end_kind::weak);
}

held_place::held_place(held_place&& other) noexcept : kind_(other.kind_) { core_ = other.leave(); }

held_place& held_place::operator=(held_place&& other) noexcept {
    held_place old(std::move(other));
    std::swap(core_, old.core_);
    std::swap(kind_, old.kind_);
    return *this;
}

/// Its memory must not look like a handle any more (K5). A plain store would be left out.
channel_core* held_place::leave() noexcept {
    channel_core* const core = core_;
    *const_cast<channel_core* volatile*>(&core_) = nullptr;
    return core;
}

std::error_code held_place::send(void* value) noexcept {
    channel_core* const core = leave();
    const std::error_code gone = core->send_reserved(value);
    core->drop(end_kind::weak);
    return gone;
}

void held_place::give_back() noexcept {
    channel_core* const core = leave();
    if (core == nullptr) return;
    core->give_back_place();
    core->drop(end_kind::weak);
}
}
