// ioredis_client PORT: ioredis subscribes to 10,000 messages of two publishers.
const assert = require('node:assert');
const Redis = require('ioredis');
const { version } = require('ioredis/package.json');

const port = Number(process.argv[2]);
const messages = 5000; // of each publisher

async function publish(who) {
    const client = new Redis(port);
    for (let start = 0; start < messages; start += 100) {
        const pipeline = client.pipeline();
        for (let i = start; i < start + 100; ++i) pipeline.publish('io:news', `${who}:${i}`);
        await pipeline.exec();
    }
    await client.quit();
}

async function check() {
    const client = new Redis(port, { connectionName: 'tester' });
    assert.equal(await client.ping(), 'PONG');
    assert.match(await client.info(), /redis_version:/);
    assert.equal(await client.publish('nobody', 'x'), 0);

    const reader = new Redis(port);
    const heard = { message: { a: [], b: [] }, pmessage: { a: [], b: [] } };
    let left = 2 * 2 * messages;
    const done = new Promise(resolve => {
        const take = (kind, text) => {
            const [who, i] = text.split(':');
            heard[kind][who].push(Number(i));
            if (--left === 0) resolve();
        };
        reader.on('message', (channel, text) => take('message', text));
        reader.on('pmessage', (pattern, channel, text) => take('pmessage', text));
    });
    assert.equal(await reader.subscribe('io:news'), 1);
    assert.equal(await reader.psubscribe('io:n*'), 2);
    assert.deepEqual(await client.pubsub('numsub', 'io:news'), ['io:news', 1]);
    await Promise.all([publish('a'), publish('b')]);
    await done;
    const wanted = Array.from({ length: messages }, (_, i) => i);
    for (const { a, b } of Object.values(heard)) assert.deepEqual([a, b], [wanted, wanted]);
    assert.equal(await reader.unsubscribe('io:news'), 1);
    await reader.quit();
    await client.quit();
    console.log(`ioredis ${version}: ${2 * messages} messages twice over, in order`);
}

check().catch(error => { console.error(error); process.exit(1); });
