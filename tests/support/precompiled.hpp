// What nearly every test includes, compiled once for each program; each test still includes what it uses.
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <runnel/channel.hpp>
#include <runnel/go.hpp>
#include <runnel/runtime.hpp>
#include <runnel/scope.hpp>
#include <runnel/select.hpp>
#include <runnel/sync.hpp>
#include <runnel/testing.hpp>
#include <runnel/time.hpp>
