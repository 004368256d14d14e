#!/usr/bin/env python3
"""redis_py_client PORT: redis-py, in RESP2 and RESP3, subscribes to 10,000 messages of two publishers."""
import sys
import threading

import redis

MESSAGES = 5000  # of each publisher


def publish(port, protocol, who):
    with redis.Redis(port=port, protocol=protocol) as client, client.pipeline(transaction=False) as pipe:
        for start in range(0, MESSAGES, 100):
            for i in range(start, start + 100):
                pipe.publish("py:news", f"{who}:{i}")
            pipe.execute()


def check(port, protocol):
    client = redis.Redis(port=port, protocol=protocol, client_name="reader", decode_responses=True)
    assert client.ping()
    assert client.client_getname() == "reader"
    assert client.info()["redis_version"]
    assert client.publish("nobody", "x") == 0

    pubsub = client.pubsub()
    pubsub.subscribe("py:news")
    pubsub.psubscribe("py:n*")
    kinds = [pubsub.get_message(timeout=5)["type"] for _ in range(2)]
    assert kinds == ["subscribe", "psubscribe"], kinds
    assert client.pubsub_numsub("py:news") == [("py:news", 1)]
    assert client.pubsub_channels("py:*") == ["py:news"]
    assert client.pubsub_numpat() == 1

    publishers = [threading.Thread(target=publish, args=(port, protocol, who)) for who in "ab"]
    for publisher in publishers:
        publisher.start()
    heard = {"message": {"a": [], "b": []}, "pmessage": {"a": [], "b": []}}
    for _ in range(2 * 2 * MESSAGES):
        message = pubsub.get_message(timeout=10)
        assert message, "messages are missing"
        who, i = message["data"].split(":")
        heard[message["type"]][who].append(int(i))
    for publisher in publishers:
        publisher.join()
    for kind in heard.values():
        assert all(seen == list(range(MESSAGES)) for seen in kind.values()), "order is lost"
    pubsub.unsubscribe()
    pubsub.punsubscribe()
    assert [pubsub.get_message(timeout=5)["type"] for _ in range(2)] == ["unsubscribe", "punsubscribe"]
    pubsub.close()
    print(f"redis-py {redis.__version__}, RESP{protocol}: {2 * MESSAGES} messages twice over, in order")


for version in 2, 3:
    check(int(sys.argv[1]), version)
