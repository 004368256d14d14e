// See task_names.hpp.
#include "task_names.hpp"

#include <atomic>
#include <string_view>

#include <runnel/detail/wait.hpp>
#include <runnel/label.hpp>
#include "task_dump.hpp"

namespace runnel::detail {

namespace {
constexpr std::size_t places = 4'096;
constexpr std::size_t tries = 64;  // N2

constinit std::atomic<const char*> names[places] = {};  // pages of it exist once they are used

std::size_t home_of(const char* text) noexcept {
    return (reinterpret_cast<std::uintptr_t>(text) * 0x9e3779b97f4a7c15U) >> 52;
}
}

std::uint16_t index_of_name(const char* text) noexcept {
    for (std::size_t i = 0; i < tries; ++i) {
        const std::size_t at = (home_of(text) + i) % places;
        if (at == 0) continue;
        const char* found = names[at].load();
        if (found == nullptr && names[at].compare_exchange_strong(found, text)) found = text;
        if (found == text) return static_cast<std::uint16_t>(at);
    }
    return 0;
}

const char* name_at(std::uint16_t index) noexcept { return index == 0 ? nullptr : names[index].load(); }

std::string title_of(const task_block& task) {
    const task_number number = task.id;
    const char* const name = name_at(number.name());
    const std::string title = "task " + std::to_string(number.get());
    return name == nullptr ? title : title + " '" + name + "'";
}

std::string introduce(const task_block& task) {
    const std::source_location start = task.spawned_at;
    // Tasks that a header of ours starts belong to something of the user's; what our sources start is main.
    if (is_ours(start))
        return title_of(task) + (std::string_view(start.file_name()).ends_with(".hpp")
                                     ? ", started inside the library"
                                     : ", main");
    return title_of(task) + ", started at " + start.file_name() + ":" + std::to_string(start.line());
}
}

namespace runnel {

void name_task(literal text) noexcept {
    detail::task_block& task = detail::running_task();
    task.id.set_name(detail::index_of_name(text.c_str()));
}
}
