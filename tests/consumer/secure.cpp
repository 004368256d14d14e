// secure: a program outside the tree that uses the installed library of TLS, too.
#include <runnel/runtime.hpp>
#include <runnel/tls.hpp>

#include <cstdio>
#include <system_error>

namespace rn = runnel;

rn::task<> make_contexts() {
    const auto nobody = rn::tls_context::server({});  // a server must be somebody
    if (rn::tls_context::client() && nobody.error() == std::errc::invalid_argument) std::puts("secure");
    co_return;
}

int main() { return rn::run(make_contexts); }
