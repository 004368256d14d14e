// resp_fuzz: libFuzzer against the request parser. The first bytes of an input say how to cut the rest.
//
// However a stream is cut, the same requests and the same error must come out (R2), no allocation may be
// larger than what has arrived explains, whatever lengths are announced (R1), and nothing may follow an error
// (R3).
//
//   clang++-19 -std=c++20 -O1 -g -fsanitize=fuzzer,address,undefined -I examples
//       tests/examples/resp_fuzz.cpp examples/pubsub/resp.cpp -lfmt -o resp_fuzz
//   ./resp_fuzz -max_total_time=600 -dict=tests/examples/resp.dict
#include <sanitizer/allocator_interface.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "pubsub/resp.hpp"

namespace {

std::size_t largest_allocation = 0;

void note(const volatile void*, std::size_t size) { largest_allocation = std::max(largest_allocation, size); }
void ignore(const volatile void*) {}
[[maybe_unused]] const int hooked = __sanitizer_install_malloc_and_free_hooks(note, ignore);

void require(bool condition, const char* what) {
    if (condition) return;
    std::fprintf(stderr, "broken: %s\n", what);
    std::abort();
}

// Small limits, so that inputs of a few hundred bytes reach them.
constexpr pubsub::request_limits limits{.line_bytes = 64, .bulk_bytes = 1000, .request_bytes = 2000};

/// How long the pieces are: each byte of `cuts` in turn, over and over.
struct cutter {
    std::string_view cuts;
    std::size_t at = 0;
    std::size_t next(std::size_t left) {
        const std::size_t size =
            cuts.empty() ? left : 1 + static_cast<unsigned char>(cuts[at++ % cuts.size()]);
        return size < left ? size : left;
    }
};

/// Parses a stream cut in pieces -> its requests, each word after a mark, and the error.
std::string parse(std::string_view stream, cutter pieces) {
    pubsub::request_parser parser(limits);
    std::string found;
    for (std::size_t arrived = 0; arrived < stream.size();) {
        const auto size = pieces.next(stream.size() - arrived);
        const auto chunk = std::make_unique<char[]>(size);  // exactly so long: ASan sees any read beyond it
        stream.copy(chunk.get(), size, arrived);
        arrived += size;
        const bool failed = !parser.error().empty();
        largest_allocation = 0;
        parser.feed({chunk.get(), size});
        while (const auto request = parser.next()) {
            require(!failed, "R3: a request after an error");
            require(largest_allocation <= 1024 + 16 * arrived, "R1: an allocation that nothing explains");
            for (auto word : *request) found.append("\n").append(std::to_string(word.size())).append(word);
            found += '\n';
            largest_allocation = 0;
        }
        require(largest_allocation <= 1024 + 16 * arrived, "R1: an allocation that nothing explains");
    }
    return found + parser.error();
}
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view input(reinterpret_cast<const char*>(data), size);
    const std::size_t cuts = input.empty() ? 0 : static_cast<unsigned char>(input[0]) % 8;
    if (input.size() < 1 + cuts) return 0;
    const auto stream = input.substr(1 + cuts);

    const auto whole = parse(stream, {});
    require(parse(stream, {input.substr(1, cuts)}) == whole, "R2: a cut changed what was found");
    require(parse(stream, {std::string_view("\0", 1)}) == whole,
            "R2: cutting everywhere changed what was found");
    return 0;
}
