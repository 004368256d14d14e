// Entries as the kernel writes them; see runnel/directory.hpp.
#include <runnel/directory.hpp>

#include <dirent.h>

#include <cstring>
#include <string_view>
#include <utility>

#include <runnel/file_paths.hpp>

namespace runnel {

namespace {
constexpr std::size_t batch_bytes = 32 * 1024;

/// The next entries of a directory, into memory that is the caller's.
class list_operation final : public detail::file_operation<list_operation> {
public:
    using result_type = result<std::size_t>;
    list_operation(detail::descriptor& of, std::vector<std::byte>& into) noexcept
        : file_operation(of, detail::lane::in, detail::file_kind::list) {
        file_.left = {into.data(), into.size()};
    }
    result_type complete(transfer done) noexcept {
        if (done.error) return done.error;
        return done.bytes;
    }
};

file_type type_of(unsigned char type) noexcept {
    switch (type) {
        case DT_REG:
            return file_type::regular;
        case DT_DIR:
            return file_type::directory;
        case DT_LNK:
            return file_type::symbolic_link;
        case DT_FIFO:
            return file_type::pipe;
        case DT_SOCK:
            return file_type::socket;
        case DT_CHR:
            return file_type::character_device;
        case DT_BLK:
            return file_type::block_device;
        default:
            return file_type::unknown;
    }
}

template <class T>
T read_as(const std::byte* from) noexcept {
    T value;
    std::memcpy(&value, from, sizeof value);
    return value;
}
}

task<result<directory>> directory::open(std::string path, std::source_location at) {
    path += "/.";  // so that it is one
    auto opened = co_await file::open(std::move(path), {}, at);
    if (!opened) co_return opened.error();
    co_return directory(std::move(*opened));
}

task<result<directory_entry>> directory::next() {
    for (;;) {
        directory_entry entry;
        while (at_ < end_)
            if (take(entry)) co_return entry;
        batch_.resize(batch_bytes);
        const auto read = co_await list_operation(opened_.file_, batch_);
        if (!read) co_return read.error();
        if (*read == 0) co_return errc::end_of_stream;
        at_ = 0;
        end_ = *read;
    }
}

/// False: it is "." or "..".
bool directory::take(directory_entry& into) {
    const std::byte* const entry = batch_.data() + at_;
    at_ += read_as<unsigned short>(entry + offsetof(dirent64, d_reclen));
    const std::string_view name = reinterpret_cast<const char*>(entry + offsetof(dirent64, d_name));
    if (name == "." || name == "..") return false;
    into.name = name;
    into.type = type_of(read_as<unsigned char>(entry + offsetof(dirent64, d_type)));
    into.inode = read_as<std::uint64_t>(entry + offsetof(dirent64, d_ino));
    return true;
}

// --- The walk --------------------------------------------------------------------------------------

namespace {
/// Of the wait, not of the directory: it can be tried again.
bool is_of_wait(std::error_code error) noexcept { return error.category() == error_category(); }
}

task<std::error_code> directory_walk::enter(std::string path) {
    auto opened = co_await directory::open(path);
    if (!opened) co_return opened.error();
    levels_.push_back(level{std::move(*opened), std::move(path)});
    co_return std::error_code();
}

/// What the file system does not say with the name.
task<std::error_code> directory_walk::find_type(walked& of) {
    const auto known = co_await stat_link(of.path);
    if (known) of.type = known->type;
    co_return known.error();
}

task<result<walked>> directory_walk::next() {
    if (!pending_.empty()) {
        const std::error_code error = co_await enter(pending_);
        if (error && (levels_.empty() || is_of_wait(error))) co_return error;
        std::string entered = std::exchange(pending_, {});
        if (error) co_return result<walked>(std::in_place, std::move(entered), file_type::directory, error);
    }
    while (!levels_.empty()) {
        auto entry = co_await levels_.back().opened.next();
        const std::error_code error = entry.error();
        if (is_of_wait(error) && error != errc::end_of_stream) co_return error;
        std::string path = levels_.back().path;
        if (!entry) {
            levels_.pop_back();
            if (error == errc::end_of_stream) continue;
            co_return result<walked>(std::in_place, std::move(path), file_type::directory, error);
        }
        if (path.back() != '/') path += '/';
        walked found(path + entry->name, entry->type);
        if (found.type == file_type::unknown) found.error = co_await find_type(found);
        if (found.type == file_type::directory) pending_ = found.path;
        co_return found;
    }
    co_return errc::end_of_stream;
}
}
