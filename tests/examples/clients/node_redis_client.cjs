// node_redis_client PORT: node-redis, in RESP2 and RESP3, subscribes to 10,000 messages of two publishers.
const assert = require('node:assert');
const redis = require('redis');
const { version } = require('redis/package.json');

const port = Number(process.argv[2]);
const messages = 5000; // of each publisher

async function connect(RESP) {
    const client = redis.createClient({ RESP, name: 'tester', socket: { port, host: '127.0.0.1' } });
    client.on('error', error => { throw error; });
    return client.connect();
}

async function publish(RESP, who) {
    const client = await connect(RESP);
    for (let start = 0; start < messages; start += 100) {
        const batch = Array.from({ length: 100 }, (_, i) => `${who}:${start + i}`);
        await Promise.all(batch.map(text => client.publish('node:news', text)));
    }
    await client.close();
}

async function check(RESP) {
    const client = await connect(RESP);
    assert.equal(await client.ping(), 'PONG');
    assert.equal(await client.publish('nobody', 'x'), 0);

    const reader = await connect(RESP);
    const heard = { message: { a: [], b: [] }, pmessage: { a: [], b: [] } };
    let left = 2 * 2 * messages;
    const done = new Promise(resolve => {
        const take = kind => text => {
            const [who, i] = text.split(':');
            heard[kind][who].push(Number(i));
            if (--left === 0) resolve();
        };
        reader.subscribe('node:news', take('message'));
        reader.pSubscribe('node:n*', take('pmessage'));
    });
    while ((await client.pubSubNumSub('node:news'))['node:news'] < 1 || (await client.pubSubNumPat()) < 1);
    await Promise.all([publish(RESP, 'a'), publish(RESP, 'b')]);
    await done;
    const wanted = Array.from({ length: messages }, (_, i) => i);
    for (const { a, b } of Object.values(heard)) assert.deepEqual([a, b], [wanted, wanted]);
    await reader.unsubscribe();
    await reader.pUnsubscribe();
    await reader.close();
    await client.close();
    console.log(`node-redis ${version}, RESP${RESP}: ${2 * messages} messages twice over, in order`);
}

check(2).then(() => check(3)).catch(error => { console.error(error); process.exit(1); });
