// older_kernel: with RUNNEL_TEST_KERNEL=5.15 the rings of a test program are set up as on Linux 5.15, which knows less.
#include <cstdlib>
#include <string_view>

#include "io/drivers/ring.hpp"

namespace {

constexpr unsigned newer_flags =
    IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL;
constexpr unsigned operations_of_5_15 = IORING_OP_LINKAT + 1;

[[maybe_unused]] const bool masked = [] {
    const char* const kernel = std::getenv("RUNNEL_TEST_KERNEL");
    if (kernel == nullptr || std::string_view(kernel) != "5.15") return false;
    auto& usual = runnel::detail::usual_ring_options();
    usual.flags_withheld = newer_flags;
    usual.operations_known = operations_of_5_15;
    usual.provides_buffers = false;
    return true;
}();
}
