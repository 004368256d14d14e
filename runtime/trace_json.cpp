// See trace_json.hpp, whose steps and invariants are named here.
#include "trace_json.hpp"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstdio>
#include <map>
#include <optional>
#include <string_view>
#include <system_error>
#include <tuple>
#include <unordered_map>
#include <utility>

#include "task_dump.hpp"
#include "task_names.hpp"

namespace runnel::detail {

namespace {

constexpr nanoseconds_t span_after_wake = 1'000;  // of what comes out of the driver

struct noted {
    trace_event event;
    unsigned worker;
    std::size_t place;  // among those of the worker
};

/// Of one worker; [first, last) are the places of what happened in it.
struct span {
    nanoseconds_t begin = 0, end = 0;
    std::uint64_t task = 0;  // 0: the driver and the timers
    std::size_t first = 0, last = 0;
    bool turn = false;
};

/// What stands between braces. There are some hundred thousand of them: no text is made that is only copied.
class members {
public:
    members() { all_.reserve(160); }
    members& text(std::string_view key, std::string_view value) {
        name(key) += '"';
        for (const char c : value) {
            if (static_cast<unsigned char>(c) < 0x20) {
                char code[8];
                std::snprintf(code, sizeof code, "\\u%04x", static_cast<unsigned>(c));
                all_ += code;
                continue;
            }
            if (c == '"' || c == '\\') all_ += '\\';
            all_ += c;
        }
        all_ += '"';
        return *this;
    }
    members& number(std::string_view key, std::int64_t value) {
        name(key);
        append(value);
        return *this;
    }
    /// In microseconds.
    members& time(std::string_view key, nanoseconds_t value) {
        name(key);
        append(value / 1000);
        const char digits[] = {'.', static_cast<char>('0' + value / 100 % 10),
                               static_cast<char>('0' + value / 10 % 10), static_cast<char>('0' + value % 10)};
        all_.append(digits, sizeof digits);
        return *this;
    }
    members& object(std::string_view key, const members& value) {
        name(key) += '{';
        (all_ += value.all()) += '}';
        return *this;
    }
    const std::string& all() const noexcept { return all_; }

private:
    std::string& name(std::string_view key) {
        return (all_ += all_.empty() ? "\"" : ",\"").append(key) += "\":";
    }
    void append(std::int64_t value) {
        char digits[24];
        all_.append(digits, std::to_chars(digits, digits + sizeof digits, value).ptr);
    }
    std::string all_;
};

bool is_wait(trace_kind kind) noexcept { return kind == trace_kind::wait || kind == trace_kind::io_submit; }

/// "'jobs' of server.cpp:31"; empty when it has no name and no place of the user's.
std::string name_of(const trace_event& event) {
    const bool known = event.made_at.line() != 0 && !is_ours(event.made_at);
    if (event.label == nullptr) return known ? place(event.made_at) : "";
    return "'" + std::string(event.label) + "'" + (known ? " of " + place(event.made_at) : "");
}

class page {
public:
    page(const std::string& runtime, const std::vector<std::vector<trace_event>>& of_workers);
    std::string text() && {
        write_metadata();
        for (unsigned worker = 0; worker < spans_.size(); ++worker) write_worker(worker);
        write_tasks();
        return std::move(text_) + "\n]}\n";
    }

private:
    const std::string& object_of(const trace_event& event);
    std::string title_of_wait(const trace_event& event);
    void order(const std::vector<std::vector<trace_event>>& of_workers);
    void number_all();
    void find_spans(unsigned worker, const std::vector<trace_event>& events);

    void write_metadata();
    void write_worker(unsigned worker);
    void write_span(unsigned worker, const span& each);
    void write_arrow(const char* phase, const noted& each);
    void write_instant(const noted& each);
    void write_tasks();
    void write_task(const std::vector<const noted*>& events);

    void line(const members& what) { ((text_ += ",\n{") += what.all()) += '}'; }
    static members head(const char* phase, unsigned worker, nanoseconds_t time, std::string_view name) {
        members what;
        what.text("ph", phase).number("pid", 1).number("tid", worker).time("ts", time).text("name", name);
        return what;
    }
    std::string title(std::uint64_t task) const;
    std::string what_next(const span& turn, const std::vector<trace_event>& events);
    std::uint64_t arrow_of(const trace_event& event) const;
    members object_arguments(const trace_event& event);

    using wait_key = std::pair<std::uint64_t, std::uint64_t>;    // a task, one of its waits
    using object_key = std::pair<std::uint64_t, std::uint64_t>;  // where it is, where it was made
    static object_key key_of(const trace_event& event) {
        return {event.object, std::bit_cast<std::uint64_t>(event.made_at)};
    }

    struct arrow_ends {
        bool wake = false, turn = false;
        std::uint64_t number = 0;
    };

    const std::string runtime_;
    const std::vector<std::vector<trace_event>>& of_workers_;
    std::vector<noted> all_;  // step 1
    std::vector<std::vector<span>> spans_;
    std::unordered_map<std::uint64_t, std::uint16_t> names_;
    std::map<wait_key, arrow_ends> arrows_;
    std::map<object_key, std::int64_t> objects_;
    std::map<std::pair<const char*, std::uint64_t>, std::string> object_names_;  // by label and place
    nanoseconds_t end_ = 0;
    std::string text_;
};

page::page(const std::string& runtime, const std::vector<std::vector<trace_event>>& of_workers)
    : runtime_(runtime), of_workers_(of_workers), spans_(of_workers.size()) {
    order(of_workers);
    number_all();
    for (unsigned worker = 0; worker < of_workers.size(); ++worker) find_spans(worker, of_workers[worker]);
}

/// name_of(), made once.
const std::string& page::object_of(const trace_event& event) {
    const std::pair key(event.label, std::bit_cast<std::uint64_t>(event.made_at));
    auto found = object_names_.find(key);
    if (found == object_names_.end()) found = object_names_.emplace(key, name_of(event)).first;
    return found->second;
}

/// "to receive ('jobs' of server.cpp:31)", "to accept (descriptor 5)", "for a lock (task 1025)"
std::string page::title_of_wait(const trace_event& event) {
    if (event.kind == trace_kind::io_submit)
        return "to " + std::string(event.what) + " (descriptor " + std::to_string(event.object) + ")";
    std::string details = object_of(event);
    if (event.value != 0) details += (details.empty() ? "task " : ", task ") + std::to_string(event.value);
    return details.empty() ? event.what : event.what + (" (" + details + ")");
}

// --- Step 1 ----------------------------------------------------------------------------------------

void page::order(const std::vector<std::vector<trace_event>>& of_workers) {
    for (unsigned worker = 0; worker < of_workers.size(); ++worker)
        for (std::size_t i = 0; i < of_workers[worker].size(); ++i)
            all_.push_back({of_workers[worker][i], worker, i});
    std::sort(all_.begin(), all_.end(), [](const noted& a, const noted& b) {
        return std::tuple(a.event.time, a.worker, a.place) < std::tuple(b.event.time, b.worker, b.place);
    });
    if (!all_.empty()) end_ = all_.back().event.time;
}

void page::number_all() {
    for (const auto& [event, worker, place] : all_) {
        if (event.name != 0) names_[event.task] = event.name;
        if (event.kind == trace_kind::wake) arrows_[{event.task, event.wait}].wake = true;
        if (event.kind == trace_kind::turn_begins && event.wait != 0)
            arrows_[{event.task, event.wait}].turn = true;
        if (event.kind == trace_kind::wait || event.kind == trace_kind::done)
            objects_.emplace(key_of(event), static_cast<std::int64_t>(objects_.size()) + 1);
    }
    std::uint64_t last = 0;
    for (const auto& [event, worker, place] : all_) {
        if (event.kind != trace_kind::wake) continue;
        arrow_ends& arrow = arrows_[{event.task, event.wait}];
        if (arrow.wake && arrow.turn && arrow.number == 0) arrow.number = ++last;
    }
}

std::uint64_t page::arrow_of(const trace_event& event) const {
    const auto found = arrows_.find({event.task, event.wait});
    return found == arrows_.end() ? 0 : found->second.number;
}

/// "session 1025" or "task 1025".
std::string page::title(std::uint64_t task) const {
    if (task == 0) return "a task";
    const auto named = names_.find(task);
    const char* name = named != names_.end() ? name_at(named->second) : nullptr;
    return (name != nullptr ? name : "task") + (" " + std::to_string(task));
}

// --- Step 3 ----------------------------------------------------------------------------------------

void page::find_spans(unsigned worker, const std::vector<trace_event>& events) {
    std::vector<span>& spans = spans_[worker];
    std::optional<span> open;
    const auto close = [&](nanoseconds_t time, std::size_t at) {
        open->end = time;
        open->last = at;
        spans.push_back(*open);
        open.reset();
    };
    for (std::size_t i = 0; i < events.size(); ++i) {
        const trace_event& event = events[i];
        if (event.kind == trace_kind::turn_begins) {
            if (open && open->turn) close(event.time, i);  // its end was not noted
            if (open) close(std::min(event.time, events[i - 1].time + span_after_wake), i);
            open = span{event.time, 0, event.task, i, 0, true};
        } else if (event.kind == trace_kind::turn_ends) {
            if (!open) continue;
            if (!open->turn && open->first == 0) {  // its beginning was not noted
                open->turn = true;
                open->task = event.task;
            }
            if (open->turn) close(event.time, i + 1);
        } else if (!open) {
            open = span{event.time, 0, 0, i, 0, false};
        }
    }
    if (open) close(open->turn ? end_ : std::min(end_, events.back().time + span_after_wake), events.size());
}

void page::write_metadata() {
    const auto named = [](const char* what, unsigned thread, const std::string& name) {
        members entry;
        entry.text("ph", "M").number("pid", 1).number("tid", thread).text("name", what);
        return entry.object("args", members().text("name", name));
    };
    text_ =
        "{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n{" + named("process_name", 0, runtime_).all() + "}";
    for (unsigned worker = 0; worker < spans_.size(); ++worker)
        line(named("thread_name", worker, "worker " + std::to_string(worker)));
}

void page::write_worker(unsigned worker) {
    const std::vector<trace_event>& events = of_workers_[worker];
    for (const span& each : spans_[worker]) {
        write_span(worker, each);
        for (std::size_t i = each.first; i < each.last; ++i) {
            const noted here{events[i], worker, i};
            switch (here.event.kind) {
                case trace_kind::turn_begins:
                    write_arrow("f", here);
                    break;
                case trace_kind::wake:
                    write_arrow("s", here);
                    break;
                case trace_kind::turn_ends:
                case trace_kind::wait:
                    break;
                default:
                    write_instant(here);
            }
        }
    }
}

/// Why the turn ended: what its task waits for.
std::string page::what_next(const span& turn, const std::vector<trace_event>& events) {
    std::string text;
    std::uint64_t wait = 0;
    for (std::size_t i = turn.first; i < turn.last; ++i) {
        const trace_event& event = events[i];
        if (event.kind == trace_kind::wake || event.kind == trace_kind::turn_ends) continue;
        if (!is_wait(event.kind)) {
            text.clear();
        } else {
            text = event.wait == wait && !text.empty() ? text + " or " + title_of_wait(event)
                                                       : title_of_wait(event);
            wait = event.wait;
        }
    }
    return text;
}

void page::write_span(unsigned worker, const span& each) {
    members what = head("X", worker, each.begin, each.turn ? title(each.task) : "driver and timers");
    what.text("cat", each.turn ? "turn" : "driver").time("dur", each.end - each.begin);
    if (each.turn) {
        members args;
        args.number("task", static_cast<std::int64_t>(each.task));
        if (const std::string next = what_next(each, of_workers_[worker]); !next.empty())
            args.text("waits", next);
        what.object("args", args);
    }
    line(what);
}

void page::write_arrow(const char* phase, const noted& each) {
    const std::uint64_t number = arrow_of(each.event);
    if (number == 0) return;  // J2
    members what = head(phase, each.worker, each.event.time, "wake");
    what.text("cat", "wake").number("id", static_cast<std::int64_t>(number));
    if (*phase == 'f') what.text("bp", "e");
    line(what);
}

namespace {
/// Of an operation on a descriptor.
members io_arguments(const trace_event& event) {
    members args;
    args.number("task", static_cast<std::int64_t>(event.task));
    args.number("descriptor", static_cast<std::int64_t>(event.object));
    if (event.value < 0)
        args.text("error", std::generic_category().message(static_cast<int>(-event.value)));
    else if (event.kind != trace_kind::io_submit && event.what == std::string_view("accept"))
        args.number("accepted", event.value);
    else if (event.value > 0 ||
             (event.kind != trace_kind::io_submit && event.what == std::string_view("receive")))
        args.number("bytes", event.value);
    return args;
}
}

void page::write_instant(const noted& each) {
    const trace_event& event = each.event;
    const bool io = event.kind != trace_kind::done;
    std::string name = event.what;
    if (event.kind == trace_kind::io_submit) name.insert(0, "submit ");
    if (event.kind == trace_kind::io_complete) name.insert(0, "complete ");
    if (event.label != nullptr) name += " '" + std::string(event.label) + "'";
    members what = head("i", each.worker, event.time, name);
    what.text("cat", io ? "io" : "object").text("s", "t");
    line(what.object("args", io ? io_arguments(event) : object_arguments(event)));
}

/// Of an operation on a channel.
members page::object_arguments(const trace_event& event) {
    members args;
    args.number("task", static_cast<std::int64_t>(event.task));
    if (const std::string& of = object_of(event); !of.empty()) args.text("object", of);
    args.number("number", objects_.at(key_of(event)));
    if (event.value != 0) args.number("woke", event.value);
    return args;
}

// --- Step 4 ----------------------------------------------------------------------------------------

void page::write_tasks() {
    std::map<std::uint64_t, std::vector<const noted*>> of_tasks;
    for (const noted& each : all_)
        if (each.event.task != 0 && each.event.kind != trace_kind::turn_ends)
            of_tasks[each.event.task].push_back(&each);
    for (const auto& [task, events] : of_tasks) write_task(events);
}

void page::write_task(const std::vector<const noted*>& events) {
    const noted& first = *events.front();
    std::string state;  // its name, while it has one
    std::uint64_t wait = 0;
    const auto put = [&](const char* phase, nanoseconds_t time, const std::string& name) {
        members what = head(phase, first.worker, time, name);
        line(what.text("cat", "task").number("id", static_cast<std::int64_t>(first.event.task)));
    };
    const auto enter = [&](const std::string& next, nanoseconds_t time) {
        if (!state.empty()) put("e", time, state);
        state = next;
        if (!state.empty()) put("b", time, state);
    };
    put("b", first.event.time, title(first.event.task));
    for (std::size_t i = 0; i < events.size(); ++i) {
        const trace_event& event = events[i]->event;
        if (is_wait(event.kind)) {
            std::string name = title_of_wait(event);
            wait = event.wait;
            while (i + 1 < events.size() && events[i + 1]->event.kind == trace_kind::wait &&
                   events[i + 1]->event.wait == wait)
                name += " or " + title_of_wait(events[++i]->event);
            enter(name, event.time);
        } else if (event.kind == trace_kind::wake) {
            enter("ready", event.time);
        } else {
            enter("", event.time);
        }
    }
    const nanoseconds_t end = state.empty() ? events.back()->event.time : end_;
    enter("", end);
    put("e", end, title(first.event.task));
}
}

std::string trace_as_json(const std::string& runtime,
                          const std::vector<std::vector<trace_event>>& of_workers) {
    return page(runtime, of_workers).text();
}
}
