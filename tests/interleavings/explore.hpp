// explore: runs a small program by many interleavings, until one fails.
//
//     const report seen = explore("two pushes", by_seeds(100'000), [] { return two_pushes(); });
//     CHECK_MESSAGE(seen.ok(), seen.what());
//
// The report of a failure has the interleaving, access by access, and a line that repeats it:
//
//     RUNNEL_INTERLEAVING='two pushes:seed 17' tests/interleavings_test -tc='...'
//     RUNNEL_INTERLEAVING='two pushes:path 0.1.1.0' tests/interleavings_test -tc='...'
//
// With it set, explore() of that name does this one run, and its report shows the run whether it failed or not.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>

#include "model.hpp"

namespace interleavings {

struct search {
    std::uint64_t runs = 0;        // at most
    std::uint64_t first_seed = 1;  // the n-th run has the n-th seed from here
    bool all = false;              // depth first instead of by seeds, with at most:
    unsigned preemptions = 0;
    unsigned old_values = 0;
    fault wrong = {};
};

inline search by_seeds(std::uint64_t runs, fault wrong = {}) { return {.runs = runs, .wrong = wrong}; }
inline search all_with(unsigned preemptions, unsigned old_values, std::uint64_t runs, fault wrong = {}) {
    return {.runs = runs, .all = true, .preemptions = preemptions, .old_values = old_values, .wrong = wrong};
}

class report {
public:
    bool ok() const { return failure_.empty(); }
    /// What failed, how, and how to see it again; of a replay, what happened.
    const std::string& what() const { return text_; }
    /// Its first line: what failed.
    const std::string& failure() const { return failure_; }
    std::uint64_t runs = 0;
    /// Depth first only: there was no run left.
    bool complete = false;

private:
    friend class explorer;
    std::string failure_;
    std::string text_;
};

/// Makes the program anew for each run, in the same place.
class maker {
public:
    virtual ~maker() = default;
    virtual program& make() = 0;
    virtual void destroy() = 0;
};

report explore(const std::string& name, const search& how, maker& programs);

template <class Make>
    requires std::is_invocable_v<Make&>
report explore(const std::string& name, const search& how, Make make) {
    using made = std::invoke_result_t<Make&>;
    struct one_place final : maker {
        explicit one_place(Make& from) : from_(from) {}
        program& make() override { return *new (place_.get()) made(from_()); }
        void destroy() override { reinterpret_cast<made*>(place_.get())->~made(); }

    private:
        struct alignas(made) room {
            std::byte bytes[sizeof(made)];
        };
        Make& from_;
        std::unique_ptr<room> place_ = std::make_unique<room>();
    } programs(make);
    return explore(name, how, static_cast<maker&>(programs));
}

/// Runs `make`'s program by so many seeds and adds the places of the source at which it has touched atomics.
template <class Make>
void collect_sites(std::vector<site>& into, std::uint64_t runs, Make make) {
    the_model.seen = &into;
    explore("sites", by_seeds(runs), make);
    the_model.seen = nullptr;
}

/// Numbers those of one name, in the order of their lines: "#2" for the second.
void number_sites(std::vector<site>& all);
}
