// resolve() and its errors; see runnel/resolve.hpp. How it is done is in name_lookup.cpp.
#include <runnel/resolve.hpp>

#include <string>

#include "name_lookup.hpp"

namespace runnel {

namespace {

class resolve_category_type final : public std::error_category {
public:
    const char* name() const noexcept override { return "resolve"; }
    std::string message(int code) const override {
        switch (static_cast<resolve_errc>(code)) {
            case resolve_errc::not_found:
                return "there is no such host name";
            case resolve_errc::no_address:
                return "the host name has no address";
            case resolve_errc::temporary_failure:
                return "no name server has answered: try again";
            case resolve_errc::server_failure:
                return "the name server cannot answer";
            case resolve_errc::unknown_service:
                return "there is no such service or port";
            case resolve_errc::invalid_name:
                return "not a host name";
        }
        return "unknown";
    }
    bool equivalent(int code, const std::error_condition& as) const noexcept override {
        if (as == std::errc::resource_unavailable_try_again)
            return code == static_cast<int>(resolve_errc::temporary_failure);
        return default_error_condition(code) == as;
    }
};

/// A text that is no name and port.
task<result<std::vector<address>>> refuse(std::error_code why) { co_return why; }
}

const std::error_category& resolve_category() noexcept {
    static const resolve_category_type the_one;
    return the_one;
}

// The text is copied before the task begins: it may be a temporary of the caller's.
task<result<std::vector<address>>> resolve(std::string_view name_and_port) {
    result<detail::name_query> what = detail::split_name(name_and_port);
    if (!what) return refuse(what.error());
    return detail::system_lookups().resolve(std::move(*what));
}

task<result<std::vector<address>>> resolve(std::string_view name, std::string_view service) {
    return detail::system_lookups().resolve(detail::name_query(name, service));
}

task<result<std::vector<address>>> resolve(std::string_view name, std::uint16_t port) {
    return detail::system_lookups().resolve(detail::name_query(name, std::to_string(port)));
}
}
