// must fail on g++: name it on the line before and pass rn::from\(it\)
// g++ 12 destroys what a temporary closure captured twice when it stands in an awaited expression.
#include <runnel/scope.hpp>

#include <string>

runnel::task<> use(runnel::scope& children, std::string text) {
#ifdef CONTROL
    auto named = [text]() -> runnel::task<> { co_return; };
    (void)co_await children.when_free().spawn(named);
    (void)co_await children.when_free().spawn(runnel::from(named));
    (void)children.if_free().spawn([text]() -> runnel::task<> { co_return; });  // awaits nothing
    children.spawn([text]() -> runnel::task<> { co_return; });
#else
    (void)co_await children.when_free().spawn(
        [text]() -> runnel::task<> { co_return; });  // g++12-ok: what this test is about
#endif
}
