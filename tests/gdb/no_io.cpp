// Stands in for io, which is not what this is about.
#include <runnel/detail/driver.hpp>
#include <runnel/detail/simulated_world.hpp>

namespace runnel::detail {
std::unique_ptr<driver_factory> make_uring_drivers() { return make_futex_drivers(); }
std::unique_ptr<driver_factory> make_epoll_drivers() { return make_futex_drivers(); }
std::unique_ptr<driver_factory> make_io_drivers() { return make_futex_drivers(); }
std::unique_ptr<simulated_world> make_simulated_network(const testing::network&, simulator&, driver&) {
    return nullptr;
}
}
