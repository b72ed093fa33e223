// The report builder's documented examples (S0), with npm's `ws` as their own tests use it.
// WEIR_MAIN=127.0.0.1:3000 NODE_PATH=… node reports.cjs
const assert = require('node:assert');
const WebSocket = require('ws');
const { test, publish, finish } = require('./checks.cjs');

const url = `ws://${process.env.WEIR_MAIN}`;

const open = (path) => {
  const ws = new WebSocket(url + path);
  const queue = [];
  const waiting = [];
  ws.on('message', (data) => {
    const message = JSON.parse(data);
    waiting.length ? waiting.shift()(message) : queue.push(message);
  });
  ws.next = () => new Promise((resolve) => (queue.length ? resolve(queue.shift()) : waiting.push(resolve)));
  ws.until = async (type) => {
    for (;;) {
      const message = await ws.next();
      if (message.type === type) return message;
    }
  };
  ws.say = (message) => ws.send(JSON.stringify(message));
  return ws;
};

test('should connect and receive welcome message', (done) => {
  const ws = new WebSocket(`${url}/ws`);
  ws.on('open', () => {
    // Connection opened
  });
  ws.on('message', (data) => {
    const message = JSON.parse(data);
    if (message.type === 'welcome') {
      assert.notStrictEqual(message.data.connectionId, undefined);
      ws.close();
      done();
    }
  });
});

test('should subscribe to channel', (done) => {
  const ws = new WebSocket(`${url}/ws`);
  ws.on('open', () => {
    ws.send(JSON.stringify({ type: 'subscribe', channel: 'test:channel' }));
  });
  ws.on('message', (data) => {
    const message = JSON.parse(data);
    if (message.type === 'subscribed') {
      assert.strictEqual(message.channel, 'test:channel');
      ws.close();
      done();
    }
  });
});

test('main connection: subscribe to notifications and ping', async () => {
  const ws = open('/ws');
  ws.onopen = () => {
    ws.say({ type: 'subscribe', channel: 'system:notifications' });
    ws.say({ type: 'ping' });
  };
  const seen = new Set();
  while (!(seen.has('subscribed') && seen.has('pong'))) seen.add((await ws.next()).type);
  ws.close();
});

test('health endpoint says its message and closes with 1000', async () => {
  const ws = open('/ws/health');
  const closed = new Promise((resolve) => ws.on('close', (...why) => resolve(why)));
  const message = await ws.next();
  assert.strictEqual(message.type, 'health');
  assert.strictEqual(message.status, 'ok');
  assert.match(message.timestamp, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  const [code] = await closed;
  assert.strictEqual(code, 1000);
});

test('patient dashboard: vital signs and critical alerts', async () => {
  const ws = open('/ws');
  ws.onopen = () => {
    ws.say({ type: 'subscribe', channel: 'patients:vitals:room-101' });
    ws.say({ type: 'subscribe', channel: 'alerts:critical' });
  };
  await ws.until('subscribed');
  await ws.until('subscribed');
  const vitals = { type: 'vital_signs_update', data: { heartRate: 72, history: Array(500).fill(72) } };
  assert.strictEqual((await publish('patients:vitals:room-101', vitals)).recipients, 1);
  const update = await ws.until('vital_signs_update');
  assert.deepStrictEqual(update.data, vitals.data);
  assert.ok(update.timestamp);
  await publish('alerts:critical', { type: 'critical_alert', data: { patient: 'p1' } });
  assert.deepStrictEqual((await ws.until('critical_alert')).data, { patient: 'p1' });
  assert.ok(ws.extensions.includes('permessage-deflate'), `deflate was not agreed on: ${ws.extensions}`);
  ws.close();
});

test('browser console: the debug routes', async () => {
  const ws = open('/ws');
  const { data } = await ws.until('welcome');
  ws.say({ type: 'subscribe', channel: 'test:debugged' });
  await ws.until('subscribed');
  const get = (path) => fetch(`http://${process.env.WEIR_MAIN}${path}`).then((res) => res.json());
  const { connections } = await get('/api/v1/debug/websocket/connections');
  assert.ok(connections.some((c) => c.id === data.connectionId && c.channels.includes('test:debugged')));
  assert.ok(JSON.stringify(await get('/api/v1/debug/websocket/channels')).includes('test:debugged'));
  ws.close();
});

test('a server ping is answered by the client, a client ping by the server', (done) => {
  const ws = new WebSocket(`${url}/ws`);
  ws.on('open', () => ws.ping('are you there'));
  ws.on('pong', (data) => {
    assert.strictEqual(data.toString(), 'are you there');
    ws.close();
    done();
  });
});

finish();
