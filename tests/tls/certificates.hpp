// certificates: an authority of our own and who it vouches for, made when the test runs, in files that go with it.
//
//     const test::authority ours("ours");
//     const test::identity site = ours.issue("DNS:example.org");
//     const auto server = rn::tls_context::server(rn::tls_options().certificate(site.chain, site.key));
//     const auto client = rn::tls_context::client(rn::tls_options().ca_file(ours.file()));
//
// The keys are Ed25519's: quick to make, and signatures have one length, so that the same things are sent each time.
#pragma once

#include <string>

#include "io/folder.hpp"

namespace test {

/// Where certificate (with its chain) and key are.
struct identity {
    std::string chain, key;
};

class authority {
public:
    explicit authority(std::string name);

    /// A certificate for these names, which is valid from and until so many days from now.
    identity issue(const std::string& names, int from = -1, int until = 30) const;
    /// One that vouches for itself.
    identity self_signed(const std::string& names) const;
    /// The authority's own certificate, as a client trusts it.
    std::string file() const { return path("authority.pem"); }
    std::string path(const std::string& name) const { return folder_ / name; }

private:
    folder folder_;
    std::string name_;
    mutable int made_ = 0;
};
}
