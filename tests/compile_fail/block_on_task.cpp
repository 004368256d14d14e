// must fail: a plain thread waits for what could be a case of a select
// A plain thread waits for what can be a case of a select. A task has to run somewhere.
#include <runnel/block_on.hpp>
#include <runnel/channel.hpp>
#include <runnel/task.hpp>

runnel::task<int> work() { co_return 1; }

void use(runnel::receiver<int> in) {
#ifdef CONTROL
    (void)runnel::block_on(in.recv());
#else
    (void)in;
    (void)runnel::block_on(work());
#endif
}
