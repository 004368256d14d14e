// contexts: what hangs on a context, for tests of what is left there.
#pragma once

#include <runnel/context.hpp>

#include <cstddef>

#include "runtime/context_node.hpp"

namespace support {

/// Contexts that its cancel would reach next.
inline std::size_t children_of(const runnel::context& ctx) {
    runnel::detail::context_node& node = *runnel::detail::context_access::node(ctx);
    node.lock.lock();
    std::size_t count = 0;
    for (const runnel::detail::child_link* link = node.children; link != nullptr; link = link->next) ++count;
    node.lock.unlock();
    return count;
}

/// Does a task wait for its end?
inline bool waited_for(const runnel::context& ctx) {
    runnel::detail::context_node& node = *runnel::detail::context_access::node(ctx);
    node.lock.lock();
    const bool any = !node.done.empty();
    node.lock.unlock();
    return any;
}
}
