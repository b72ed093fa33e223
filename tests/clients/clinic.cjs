// The clinic's documented flow (S1), with npm's `ws`: token, socket, subscriptions, broadcast, health.
// WEIR_CLINIC=127.0.0.1:3001 NODE_PATH=… node clinic.cjs
const assert = require('node:assert');
const crypto = require('node:crypto');
const WebSocket = require('ws');
const { test, finish } = require('./checks.cjs');

const http = `http://${process.env.WEIR_CLINIC}`;
const channels = {
  system: { announcements: 'system:announcements', maintenance: 'system:maintenance' },
  clinic: { queue: (id) => `clinic:${id}:queue`, alerts: (id) => `clinic:${id}:alerts` },
  user: { notifications: (id) => `user:${id}:notifications` },
};

const signed = (userId, secret = 'dev-ws-token-secret', timestamp = Date.now()) => {
  const signature = crypto.createHmac('sha256', secret).update(`${userId}:${timestamp}`).digest('hex');
  return Buffer.from(JSON.stringify({ userId, timestamp, signature })).toString('base64');
};

// Opens a socket and resolves with its CONNECTED message; `ws.next()` is the next message.
const connect = (token) => new Promise((resolve, reject) => {
  const ws = new WebSocket(`ws://${process.env.WEIR_CLINIC}?token=${encodeURIComponent(token)}`);
  const queue = [];
  const waiting = [];
  ws.next = () => new Promise((yes) => (queue.length ? yes(queue.shift()) : waiting.push(yes)));
  ws.say = (message) => ws.send(JSON.stringify(message));
  ws.on('message', (data) => {
    const message = JSON.parse(data);
    waiting.length ? waiting.shift()(message) : queue.push(message);
  });
  ws.on('close', (code, reason) => reject(new Error(`${code} ${reason}`)));
  ws.next().then((hello) => resolve([ws, hello]));
});

const broadcast = (message, filter, secret = 'dev-ws-admin-secret') => fetch(`${http}/broadcast`, {
  method: 'POST',
  headers: { 'Content-Type': 'application/json', 'x-ws-admin-secret': secret },
  body: JSON.stringify({ message, filter }),
});

test('the end-to-end smoke test: token from /api/ws/auth, subscribe, announcement', async () => {
  const { wsUrl, token, userId } = await (await fetch(`${http}/api/ws/auth`)).json();
  assert.match(wsUrl, /^ws:\/\/localhost:\d+$/);
  const [ws, hello] = await connect(token);
  assert.strictEqual(hello.type, 'CONNECTED');
  assert.strictEqual(hello.data.userId, userId);
  assert.match(hello.data.clientId, /^[0-9a-f-]{36}$/);
  ws.say({ type: 'SUBSCRIBE', data: { channels: [channels.system.announcements] } });
  assert.deepStrictEqual((await ws.next()).data, { allowed: ['system:announcements'], denied: [] });
  const message = { type: 'ANNOUNCEMENT', data: { message: 'Hello', at: new Date().toISOString() } };
  const reply = await broadcast(message, { channels: [channels.system.announcements] });
  assert.strictEqual(reply.status, 200);
  assert.deepStrictEqual(await reply.json(), { ok: true, recipients: 1 });
  assert.deepStrictEqual(await ws.next(), message);
  ws.close();
});

test('a token that the back end signed, a queue update for its clinic, ping and pong', async () => {
  const [ws] = await connect(signed('u1'));
  ws.say({ type: 'SUBSCRIBE', data: { channels: [channels.clinic.queue('c1'), channels.clinic.queue('c2'), channels.user.notifications('u1')] } });
  const { type, data } = await ws.next();
  assert.strictEqual(type, 'SUBSCRIBE_RESULT');
  assert.deepStrictEqual(data.allowed.sort(), ['clinic:c1:queue', 'user:u1:notifications']);
  assert.deepStrictEqual(data.denied, [{ channel: 'clinic:c2:queue', reason: 'permission_denied' }]);
  await broadcast({ type: 'QUEUE_UPDATE', data: { waiting: 3 } }, { channels: [channels.clinic.queue('c1')] });
  assert.deepStrictEqual(await ws.next(), { type: 'QUEUE_UPDATE', data: { waiting: 3 } });
  ws.say({ type: 'UNSUBSCRIBE', data: { channels: [channels.clinic.queue('c1')] } });
  ws.say({ type: 'PING' });
  assert.deepStrictEqual(await ws.next(), { type: 'PONG' });
  const none = await broadcast({ type: 'QUEUE_UPDATE', data: {} }, { channels: [channels.clinic.queue('c1')] });
  assert.strictEqual((await none.json()).recipients, 0);
  ws.close();
});

test('bad tokens are told by close code', async () => {
  const refused = (token) => connect(token).then(() => assert.fail('connected'), (e) => e.message);
  assert.strictEqual(await refused(''), '4000 Authentication token is required');
  assert.strictEqual(await refused(signed('u1', 'guessed')), '4001 Authentication failed');
  assert.strictEqual(await refused(signed('u1', undefined, Date.now() - 660_000)), '4001 Authentication failed');
});

test('health', async () => {
  const [ws] = await connect(signed('u2'));
  const health = await (await fetch(`${http}/health`)).json();
  for (const key of ['ok', 'uptime', 'memory', 'clients', 'byRole', 'byClinic']) assert.ok(key in health, key);
  assert.strictEqual(health.ok, true);
  ws.close();
});

test('the broadcast needs its secret', async () => {
  const reply = await broadcast({ type: 'ANNOUNCEMENT', data: {} }, {}, 'guessed');
  assert.strictEqual(reply.status, 401);
  assert.deepStrictEqual(await reply.json(), { error: 'Unauthorized' });
});

finish();
