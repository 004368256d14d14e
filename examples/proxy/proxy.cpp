// One task per connection; copy_both() makes two of it.
#include "proxy.hpp"

#include <runnel/connect.hpp>
#include <runnel/copy.hpp>

#include <chrono>
#include <utility>

namespace rn = runnel;
using namespace std::chrono_literals;

namespace proxy {
namespace {

struct talk {
    const std::string* to;
    statistics* served;

    rn::task<> operator()(rn::tcp_stream& client) const {
        auto limited = rn::connect_to(*to);
        auto target = co_await rn::with_timeout(10s, std::move(limited));
        if (!target) {
            ++served->failed;
            co_return;  // and the client reads the end of its stream
        }
        const rn::transfers moved = co_await rn::copy_both(client, *target);
        served->there += moved.there.bytes;
        served->back += moved.back.bytes;
    }
};
}

rn::task<rn::serve_report> serve(rn::tcp_listener listener, const std::string& to, statistics& served) {
    return rn::serve(std::move(listener), talk{&to, &served}, rn::serve_options().grace(500ms).linger(100ms));
}
}
