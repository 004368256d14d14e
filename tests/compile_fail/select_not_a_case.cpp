// must fail: this operation is no case of a select
// What cannot be taken back once it has begun cannot lose.
#include <runnel/channel.hpp>
#include <runnel/select.hpp>
#include <runnel/time.hpp>

runnel::task<> use(runnel::receiver<int> in) {
#ifdef CONTROL
    (void)co_await runnel::select(in.recv(), runnel::sleep_for(std::chrono::seconds(1)));
#else
    (void)co_await runnel::select(in.recv(), runnel::yield());
#endif
}
