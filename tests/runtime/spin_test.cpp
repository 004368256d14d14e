// options.spin: a worker that looks for work before it sleeps.
#include <doctest/doctest.h>
#include <runnel/metrics.hpp>

#include <atomic>
#include <chrono>

#include <runnel/runtime.hpp>
#include <runnel/time.hpp>

namespace rn = runnel;
using namespace std::chrono_literals;

namespace {

rn::task<int> answer(int value) { co_return value; }
rn::task<> nap() { co_await rn::sleep_for(1ms); }

rn::options spinning(unsigned workers) {
    return rn::options().workers(workers).driver(rn::driver_kind::none).spin(200us);
}

TEST_CASE("spin: work from outside and deadlines are found, whether a worker spins or sleeps") {
    for (const unsigned workers : {1U, 2U, 64U}) {  // 64: more than there are processors, so none spins
        rn::runtime rt(spinning(workers));
        for (int i = 0; i < 200; ++i) CHECK(rt.spawn(answer, i).wait().value() == i);
        for (int i = 0; i < 5; ++i) rt.spawn(nap).wait().value();
    }
}

TEST_CASE("spin: a worker that has found nothing goes to sleep") {
    rn::runtime rt(spinning(1));
    const auto parks = [&rt] { return rt.metrics().total.parks; };
    rt.spawn(answer, 1).wait().value();
    for (const auto before = parks(); parks() == before;) rt.spawn(nap).wait().value();
}
}
