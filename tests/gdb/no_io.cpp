// Stands in for io, which is not what this is about.
#include <runnel/detail/driver.hpp>

namespace runnel::detail {
std::unique_ptr<driver_factory> make_uring_drivers() { return make_futex_drivers(); }
}
