#include "explore.hpp"

#include <algorithm>
#include <cstdlib>
#include <sstream>
#include <tuple>

#include "deciders.hpp"

namespace interleavings {

namespace {

/// The run that RUNNEL_INTERLEAVING asks for of this name: "seed N" or "path A.B.C", else empty.
std::string asked_for(const std::string& name) {
    const char* const wanted = std::getenv("RUNNEL_INTERLEAVING");
    if (wanted == nullptr) return {};
    const std::string text = wanted;
    const std::size_t colon = text.rfind(':');
    return colon != text.npos && text.substr(0, colon) == name ? text.substr(colon + 1) : std::string();
}

std::string joined(const path& decisions) {
    std::string text;
    for (const auto each : decisions) text += (text.empty() ? "" : ".") + std::to_string(each);
    return text;
}

path split(const std::string& text) {
    path decisions;
    std::istringstream from(text);
    for (std::string part; std::getline(from, part, '.');)
        decisions.push_back(static_cast<std::uint16_t>(std::stoul(part)));
    return decisions;
}
}

class explorer {
public:
    explorer(const std::string& name, maker& programs) : name_(name), programs_(programs) {}

    report by_seeds(const search& how) {
        by_chance chance;
        for (std::uint64_t seed = how.first_seed; seed < how.first_seed + how.runs; ++seed) {
            chance.seed(seed);
            if (failed(chance)) {
                chance.seed(seed);
                show(chance, "seed " + std::to_string(seed));
                break;
            }
        }
        return std::move(seen_);
    }

    report all(const search& how) {
        every each(how.preemptions, how.old_values);
        while (seen_.runs < how.runs) {
            if (failed(each)) {
                recorded again(each);  // the same choices: next() has not been called
                show(again, {});
                break;
            }
            if (!each.next()) {
                seen_.complete = true;
                break;
            }
        }
        return std::move(seen_);
    }

    report one(const std::string& wanted) {
        if (wanted.starts_with("path ")) {
            given decisions(split(wanted.substr(5)));
            show(decisions, wanted);
        } else {
            by_chance chance;
            chance.seed(std::stoull(wanted.substr(5)));
            show(chance, wanted);
        }
        return std::move(seen_);
    }

private:
    model::outcome run(decider& by) {
        program& small = programs_.make();
        const model::outcome done = the_model.run(small, by);
        programs_.destroy();
        return done;
    }

    bool failed(decider& by) {
        ++seen_.runs;
        return run(by).what != nullptr;
    }

    /// The run once more, with all its steps written down. `key` is empty when only `by` can say it, afterwards.
    void show(decider& by, std::string key) {
        std::vector<std::string> steps;
        the_model.trace = &steps;
        const model::outcome done = run(by);
        the_model.trace = nullptr;
        if (key.empty()) key = "path " + joined(static_cast<recorded&>(by).taken);
        if (done.what != nullptr) seen_.failure_ = done.what;
        std::string& text = seen_.text_;
        text = name_ + ": " + (done.what != nullptr ? done.what : "nothing failed") + ", after " +
               std::to_string(seen_.runs) + " runs\nto see it again: RUNNEL_INTERLEAVING='" + name_ + ":" +
               key + "'\n";
        for (const std::string& step : steps) text += step + "\n";
    }

    const std::string& name_;
    maker& programs_;
    report seen_;
};

report explore(const std::string& name, const search& how, maker& programs) {
    the_model.wrong = how.wrong;
    explorer all(name, programs);
    const std::string wanted = asked_for(name);
    report seen = !wanted.empty() ? all.one(wanted) : how.all ? all.all(how) : all.by_seeds(how);
    the_model.wrong = {};
    return seen;
}

void number_sites(std::vector<site>& all) {
    std::sort(all.begin(), all.end(), [](const site& a, const site& b) {
        return std::tie(a.file, a.line, a.column, a.which) < std::tie(b.file, b.line, b.column, b.which);
    });
    for (std::size_t i = 0; i < all.size(); ++i) {
        unsigned like = 1;
        for (std::size_t j = 0; j < i; ++j)
            like +=
                all[j].file == all[i].file && all[j].name.substr(0, all[j].name.find(" #")) == all[i].name;
        if (like > 1) all[i].name += " #" + std::to_string(like);
    }
}
}
