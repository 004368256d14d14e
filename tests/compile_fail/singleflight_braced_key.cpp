// must fail on g++: name it on the line before
// g++ 12 destroys a braced aggregate in an awaited expression twice.
#include <runnel/singleflight.hpp>

#include <string>

struct page {
    std::string host;
    int number;
    bool operator==(const page&) const = default;
};
struct page_hash {
    std::size_t operator()(const page& of) const noexcept { return std::hash<std::string>()(of.host); }
};
runnel::task<int> fetch() { co_return 1; }

runnel::task<> use(runnel::singleflight<page, int, page_hash>& pages) {
#ifdef CONTROL
    page first{"here", 1};
    (void)co_await pages.run(first, fetch);
    (void)co_await pages.run(runnel::from(first), fetch);
#else
    (void)co_await pages.run({"here", 1}, fetch);  // g++12-ok: what this test is about
#endif
}
