// client_library.js -- the JavaScript client against a server of this file that does what each test
// tells it to. Run by client_library_spec.lua with the path of the client's script or module.
//
// The server is made with Node's `ws`. It speaks the form of sessions on the wire, but counts
// nothing by itself: a test says what it sends. Exits with 0 when everything was as promised, else
// prints what was not. Timers of the tests only bound how long a fault may take.
'use strict';
const assert = require('assert');
const path = require('path');
const { WebSocket, WebSocketServer } = require('ws');

const patience = 30000 * Number(process.env.TIDEWIRE_TEST_PATIENCE || 1);
const file = path.resolve(process.argv[2]);
const only = process.argv[3];
let Tidewire;

// What is told one by one, and taken one by one.
class Feed {
  items = [];
  waiting = [];
  put(item) {
    const waiter = this.waiting.shift();
    if (waiter) waiter(item); else this.items.push(item);
  }
  async take(what = 'something') {
    if (this.items.length > 0) return this.items.shift();
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error(`waited in vain for ${what}`)), patience);
    });
    try {
      return await Promise.race([new Promise((resolve) => this.waiting.push(resolve)), late]);
    } finally {
      clearTimeout(timer);
    }
  }
}

// A server's side of one socket.
class Peer {
  constructor(socket, request) {
    this.socket = socket;
    this.query = Object.fromEntries(new URL(request.url, 'http://x').searchParams);
    this.protocols = request.headers['sec-websocket-protocol'];
    this.messages = new Feed();
    this.closed = new Feed();
    socket.on('message', (data, isBinary) => this.messages.put(isBinary ? data : String(data)));
    socket.on('close', (code, reason) => this.closed.put({ code, reason: String(reason) }));
  }
  send(value) {
    this.socket.send(typeof value === 'string' || Buffer.isBuffer(value) ? value
      : JSON.stringify(value));
    return this;
  }
  greet(resumed, received = 0) {
    return this.send({ type: 'session', resumed, received });
  }
  // The next message that is no heartbeat.
  async take() {
    for (;;) {
      const message = await this.messages.take('a message');
      if (!/"type":"p[io]ng"/.test(message)) return message;
    }
  }
  async takeBeat(type = 'ping') {
    for (;;) {
      const message = await this.messages.take('a heartbeat');
      if (String(message).includes(`"type":"${type}"`)) return JSON.parse(message);
    }
  }
  close(code, reason) {
    this.socket.close(code, reason);
  }
  cut() {
    this.socket._socket.destroy();
  }
}

async function serve(options = {}) {
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0, ...options });
  await new Promise((resolve) => server.on('listening', resolve));
  const peers = new Feed();
  server.on('connection', (socket, request) => peers.put(new Peer(socket, request)));
  return {
    port: server.address().port,
    url: `ws://127.0.0.1:${server.address().port}/x`,
    peer: () => peers.take('a connection'),
    peers,
    stop() {
      for (const socket of server.clients) socket.terminate();
      return new Promise((resolve) => server.close(resolve));
    },
  };
}

const clients = [];
const QUICK = { min: 1, max: 20 };

// A client whose events are feeds.
function connect(url, options = {}) {
  const client = new Tidewire(url, { WebSocket, backoff: QUICK, ...options });
  clients.push(client);
  client.feeds = {};
  for (const event of ['message', 'open', 'state', 'close', 'session', 'error']) {
    const feed = client.feeds[event] = new Feed();
    client.on(event, (...values) => feed.put(values.length > 1 ? values : values[0]));
  }
  client.next = (event) => client.feeds[event].take(`the event ${event}`);
  return client;
}

const failure = (promise) => promise.then(() => assert.fail('it was fulfilled'), (error) => error);

const tests = {
  async 'messages go both ways, by the codec'(server) {
    const json = connect(server.url);
    assert.strictEqual(json.state, 'connecting');
    let peer = await server.peer();
    assert.deepStrictEqual(peer.query, {});
    await json.next('open');
    assert.strictEqual(json.state, 'open');
    await json.send({ a: [1, null, 'ü'] });
    assert.strictEqual(await peer.take(), '{"a":[1,null,"ü"]}');
    peer.send('{"b":2}');
    assert.deepStrictEqual(await json.next('message'), [{ b: 2 }, 'text']);
    peer.send('no JSON').send('null').send('"ping"').send('[]');
    assert.match((await json.next('error')).message, /JSON/);
    for (const value of [null, 'ping', []]) {
      assert.deepStrictEqual(await json.next('message'), [value, 'text']);
    }
    const text = connect(server.url, { codec: 'text' });
    peer = await server.peer();
    text.send('{"x":');
    text.send(12);
    assert.strictEqual(await peer.take(), '{"x":');
    assert.strictEqual(await peer.take(), '12');
    peer.send('{"y":');
    assert.deepStrictEqual(await text.next('message'), ['{"y":', 'text']);
    const binary = connect(server.url, { codec: 'binary' });
    peer = await server.peer();
    const bytes = new Uint8Array([1, 2, 3, 4]);
    binary.send(bytes.subarray(1));
    binary.send(bytes.buffer);
    bytes.fill(0); // after send, nothing changes what is sent
    assert.deepStrictEqual([...await peer.take()], [2, 3, 4]);
    assert.deepStrictEqual([...await peer.take()], [1, 2, 3, 4]);
    peer.send(Buffer.from([9]));
    const [got, kind] = await binary.next('message');
    assert.ok(got instanceof ArrayBuffer && kind === 'binary');
    const own = connect(server.url, { codec: {
      encode: (value) => Buffer.from(value.join()),
      decode: (data, how) => `${how} ${Buffer.from(data)}`,
    } });
    peer = await server.peer();
    own.send([1, 2]);
    assert.strictEqual(String(await peer.take()), '1,2');
    peer.send(Buffer.from('z')).send('t');
    assert.deepStrictEqual(await own.next('message'), ['binary z', 'binary']);
    assert.deepStrictEqual(await own.next('message'), ['text t', 'text']);
  },

  async 'wrong options throw at once'() {
    const url = 'ws://127.0.0.1:1/';
    assert.throws(() => new Tidewire(url, { codex: 'json' }), /no option "codex"/);
    assert.throws(() => new Tidewire(url, { WebSocket, codec: 'jason' }), /no such codec/);
    assert.throws(() => new Tidewire('no URL', { WebSocket }), TypeError);
    const { WebSocket: there } = globalThis;
    delete globalThis.WebSocket;
    assert.throws(() => new Tidewire(url), /pass the option WebSocket/);
    if (there) globalThis.WebSocket = there;
  },

  async 'an http address is one too, and the address may be a function'(server) {
    let calls = 0;
    const client = connect(async () => `http://127.0.0.1:${server.port}/a?n=${++calls}#part`);
    let peer = await server.peer();
    assert.deepStrictEqual(peer.query, { n: '1' });
    peer.cut();
    peer = await server.peer();
    assert.deepStrictEqual(peer.query, { n: '2' });
    assert.strictEqual(client.state === 'closed', false);
  },

  async 'a token is made for each attempt, and goes into the address or the subprotocols'(server) {
    let calls = 0;
    connect(server.url, { token: async () => `t ${++calls}&` });
    let peer = await server.peer();
    assert.strictEqual(peer.query.token, 't 1&');
    peer.cut();
    peer = await server.peer();
    assert.strictEqual(peer.query.token, 't 2&');
    connect(server.url, { token: 'secret', tokenIn: 'protocol', protocols: ['bearer'] });
    peer = await server.peer();
    assert.strictEqual(peer.protocols, 'bearer,secret');
    assert.deepStrictEqual(peer.query, {});
    connect(server.url, { token: () => null });
    assert.deepStrictEqual((await server.peer()).query, {});
  },

  async 'a token that cannot be had is an error, and is asked for again'(server) {
    let calls = 0;
    const client = connect(server.url, {
      token: () => { if (++calls < 3) throw new Error('no token yet'); return 'there'; },
    });
    assert.match((await client.next('error')).message, /no token yet/);
    assert.strictEqual((await client.next('close')).willReconnect, true);
    assert.strictEqual((await server.peer()).query.token, 'there');
    // One that never comes ends the attempt.
    const slow = connect(server.url, { token: () => new Promise(() => {}), timeout: 50 });
    assert.strictEqual((await slow.next('close')).reason, 'timeout');
    assert.strictEqual((await slow.next('close')).reason, 'timeout');
  },

  async 'a server that does not answer the handshake is left'() {
    const net = require('net');
    const sockets = new Feed();
    const mute = net.createServer((socket) => sockets.put(socket));
    await new Promise((resolve) => mute.listen(0, '127.0.0.1', resolve));
    const client = connect(`ws://127.0.0.1:${mute.address().port}/`, { timeout: 50 });
    await sockets.take();
    await sockets.take();
    client.disconnect();
    mute.close();
  },

  async 'it comes back after a lost socket, and sends what waited, in order'(server) {
    const client = connect(server.url);
    let peer = await server.peer();
    await client.next('open');
    peer.cut();
    const close = await client.next('close');
    assert.strictEqual(close.code, 1006);
    assert.strictEqual(close.willReconnect, true);
    assert.ok(close.delay >= 0 && close.delay <= 1);
    const sent = [client.send(1), client.send(2)];
    assert.strictEqual(client.queued, 2);
    peer = await server.peer();
    assert.strictEqual(await peer.take(), '1');
    assert.strictEqual(await peer.take(), '2');
    await Promise.all(sent);
    assert.strictEqual(client.queued, 0);
    const states = client.feeds.state.items.map((item) => (Array.isArray(item) ? item[0] : item));
    assert.deepStrictEqual(states, ['connecting', 'open', 'waiting', 'connecting', 'open']
      .slice(states.length < 5 ? 1 : 0));
  },

  async 'messages of the handler of open go behind those that waited'(server) {
    const client = connect(server.url);
    client.on('open', () => client.send('open'));
    client.on('state', (state) => state === 'open' && client.send('state'));
    client.send('before');
    const peer = await server.peer();
    for (const text of ['before', 'state', 'open']) {
      assert.strictEqual(JSON.parse(await peer.take()), text);
    }
  },

  async 'the queue has a ceiling of messages and one of bytes'(server) {
    const client = connect(() => new Promise(() => {}), { queue: { messages: 3, bytes: 20 } });
    const few = [1, 2, 3].map((value) => client.send(value));
    assert.strictEqual((await failure(client.send(4))).kind, 'full');
    client.disconnect();
    for (const promise of few) assert.strictEqual((await failure(promise)).kind, 'closed');
    assert.strictEqual((await failure(client.send(5))).kind, 'closed');
    const bytes = connect(() => new Promise(() => {}), { codec: 'text', queue: { bytes: 20 } });
    bytes.send('ü'.repeat(9)); // 18 bytes
    assert.strictEqual((await failure(bytes.send('abc'))).kind, 'full');
    bytes.send('ab');
    assert.strictEqual(bytes.queued, 2);
    assert.ok(server.url);
  },

  async 'what cannot be sent is rejected, and disturbs nothing'(server) {
    const client = connect(server.url);
    const ring = {};
    ring.ring = ring;
    await failure(client.send(ring));
    await failure(client.send(undefined));
    assert.strictEqual((await failure(client.send({ type: 'ping' }))).kind, 'refused');
    client.send(ring); // nobody looks: no unhandled rejection
    client.send('good');
    assert.strictEqual(await (await server.peer()).take(), '"good"');
  },

  async 'close codes: at once after a restart, never after a refusal'(server) {
    const jitter = Math.random;
    Math.random = () => 1;
    try {
      for (const code of [1001, 1012]) {
        const client = connect(server.url);
        const peer = await server.peer();
        await client.next('open');
        peer.close(code, 'bye');
        assert.deepStrictEqual(await client.next('close'),
          { code, reason: 'bye', wasClean: true, delay: 0, willReconnect: true });
        const again = await server.peer();
        await client.next('open');
        again.close(code, 'bye'); // no sooner open than closed: not at once any more
        assert.ok((await client.next('close')).delay > 0);
        client.disconnect();
      }
      for (const code of [1000, 1008, 4400, 4401, 4404, 4408, 4409, 4500]) {
        const client = connect(server.url, { finalCodes: [4500] });
        const peer = await server.peer();
        await client.next('open');
        peer.close(code, 'no');
        assert.deepStrictEqual(await client.next('close'),
          { code, reason: 'no', wasClean: true, willReconnect: false });
        assert.strictEqual(client.state, 'closed');
        client.connect(); // when the page wants to
        await server.peer();
        await client.next('open');
        client.disconnect();
      }
      for (const [code, reason] of [[1011, ''], [1013, ''], [4000, ''], [4410, ''], [4399, ''],
        [4408, 'timed out']]) {
        const client = connect(server.url);
        (await server.peer()).close(code, reason);
        const close = await client.next('close');
        assert.ok(close.willReconnect && close.delay > 0, code);
        await server.peer();
        client.disconnect();
      }
    } finally {
      Math.random = jitter;
    }
  },

  async 'delays double up to a ceiling, with full jitter'() {
    const jitter = Math.random;
    const net = require('net');
    const refusing = net.createServer((socket) => socket.destroy());
    await new Promise((resolve) => refusing.listen(0, '127.0.0.1', resolve));
    try {
      let part = 1;
      Math.random = () => part;
      const client = connect(`ws://127.0.0.1:${refusing.address().port}/`,
        { backoff: { min: 2, max: 9 } });
      const delays = [];
      for (let n = 0; n < 5; n++) delays.push((await client.next('close')).delay);
      assert.deepStrictEqual(delays, [2, 4, 8, 9, 9]);
      part = 0.5;
      await client.next('close');
      assert.strictEqual((await client.next('close')).delay, 4.5);
      client.disconnect();
    } finally {
      Math.random = jitter;
      refusing.close();
    }
  },

  async 'disconnect ends it for good, and connect begins anew'(server) {
    const client = connect(server.url);
    const peer = await server.peer();
    await client.next('open');
    client.disconnect();
    assert.strictEqual(client.state, 'closed');
    assert.deepStrictEqual(await client.next('close'),
      { code: 1000, reason: '', wasClean: true, willReconnect: false });
    assert.strictEqual((await peer.closed.take()).code, 1000);
    client.connect();
    const again = await server.peer();
    await client.next('open');
    client.disconnect(4001, 'gone');
    assert.strictEqual((await again.closed.take()).code, 4001);
    client.disconnect();
    const idle = connect(server.url, { connect: false });
    assert.strictEqual(idle.state, 'closed');
    idle.connect().connect();
    await server.peer();
    await idle.next('open');
    assert.strictEqual(server.peers.items.length, 0);
  },

  async 'a handler may end the client, and an error in one stops nothing'(server) {
    const client = connect(server.url);
    const errors = new Feed();
    process.once('uncaughtException', (error) => errors.put(error));
    client.on('message', () => { throw new Error('mine'); });
    const seen = new Feed();
    const handler = (value) => seen.put(value);
    client.on('message', handler).on('message', handler);
    const peer = await server.peer();
    peer.send('1');
    assert.strictEqual(await seen.take(), 1);
    assert.strictEqual((await errors.take()).message, 'mine');
    const ended = connect(server.url);
    ended.on('state', (state) => state === 'open' && ended.disconnect());
    await server.peer();
    await ended.next('close');
    assert.strictEqual(ended.state, 'closed');
    assert.deepStrictEqual(ended.feeds.open.items, []);
  },

  async 'a handler of error may end the client'(server) {
    const token = () => Promise.reject(); // an error that is none
    const refused = connect(server.url, { token });
    refused.on('error', () => refused.disconnect());
    assert.strictEqual((await refused.next('close')).willReconnect, false);
    assert.strictEqual(refused.state, 'closed');
    const again = connect(server.url, { token });
    assert.strictEqual((await again.next('close')).willReconnect, true);
    again.disconnect();
    const without = connect(server.url, { session: true });
    without.on('error', () => without.disconnect());
    (await server.peer()).send('"hello"');
    await without.next('error');
    assert.strictEqual(without.state, 'closed');
  },

  async 'a handler of session may end the client, which rejects what waited'(server) {
    const client = connect(server.url, { session: true });
    const waits = client.send('waits');
    client.on('session', () => client.disconnect());
    (await server.peer()).greet(false);
    assert.strictEqual((await failure(waits)).kind, 'closed');
    assert.strictEqual(client.queued, 0);
  },

  async 'a code that a client may not send is an error, and changes nothing'(server) {
    const client = connect(server.url);
    const peer = await server.peer();
    await client.next('open');
    for (const code of [999, 1001, 1005, 2999, 5000]) {
      assert.throws(() => client.disconnect(code), TypeError);
    }
    client.send('still there');
    assert.strictEqual(await peer.take(), '"still there"');
    client.disconnect(3000);
    assert.strictEqual((await peer.closed.take()).code, 3000);
  },

  // ---- heartbeat ----

  async 'the server\'s pings are answered, and then the client pings too'(server) {
    const client = connect(server.url);
    const peer = await server.peer();
    assert.strictEqual(client.latency, null);
    peer.send('{ "connId" : "7", "pingId" : 5, "type" : "ping" }');
    assert.deepStrictEqual(JSON.parse(await peer.messages.take()), { type: 'pong', pingId: 5 });
    const ping = JSON.parse(await peer.messages.take());
    assert.deepStrictEqual(ping, { type: 'ping', pingId: 1 });
    peer.send({ type: 'pong', pingId: 1, timestamp: 1 }).send('"end"');
    assert.deepStrictEqual(await client.next('message'), ['end', 'text']); // and no heartbeat
    assert.ok(client.latency >= 0);
  },

  async 'pings come as often as one wants, or never'(server) {
    const client = connect(server.url, { heartbeat: 5 });
    const peer = await server.peer();
    for (let pingId = 1; pingId < 4; pingId++) {
      assert.strictEqual((await peer.takeBeat()).pingId, pingId);
      peer.send({ type: 'pong', pingId });
    }
    client.disconnect();
    const none = connect(server.url, { heartbeat: false });
    const other = await server.peer();
    other.send({ type: 'ping' });
    assert.deepStrictEqual(await none.next('message'), [{ type: 'ping' }, 'text']);
    none.send({ type: 'ping' });
    assert.strictEqual(await other.messages.take(), '{"type":"ping"}');
  },

  async 'a silent link is left'(server) {
    const client = connect(server.url, { heartbeat: 10, timeout: 40 });
    await server.peer();
    assert.strictEqual((await client.next('close')).reason, 'no sign of life');
    const peer = await server.peer(); // the same, with any byte as a sign of life
    for (let n = 0; n < 10; n++) {
      await peer.takeBeat();
      peer.send(`${n}`);
    }
    assert.strictEqual(client.feeds.close.items.length, 0);
  },

  // ---- sessions ----

  async 'a session has a secret of its own, and counts'(server) {
    const client = connect(server.url, { session: true });
    const peer = await server.peer();
    assert.match(peer.query.session, /^[0-9a-f]{48}$/);
    assert.strictEqual(peer.query.received, '0');
    let isDone = false;
    const sent = client.send('early').then(() => { isDone = true; });
    peer.greet(false);
    assert.deepStrictEqual(await client.next('session'), { resumed: false, lost: [] });
    assert.deepStrictEqual(await client.next('open'), { resumed: false });
    assert.strictEqual(await peer.take(), '"early"');
    assert.strictEqual(isDone, false); // written, but not acknowledged
    assert.strictEqual(client.queued, 1);
    const ping = await peer.takeBeat();
    assert.strictEqual(ping.received, 0);
    peer.send('"one"').send({ type: 'pong', pingId: ping.pingId, received: 1 });
    await sent;
    peer.send({ type: 'ping', pingId: 1, received: 1 });
    assert.strictEqual((await peer.takeBeat('pong')).received, 1);
    const other = connect(server.url, { session: true });
    assert.notStrictEqual((await server.peer()).query.session, peer.query.session);
    other.disconnect();
    connect(server.url, { session: 'my-own-secret-of-16' });
    assert.strictEqual((await server.peer()).query.session, 'my-own-secret-of-16');
  },

  async 'a resumed session sends again what the server lacks, and nothing else'(server) {
    const client = connect(server.url, { session: true });
    let peer = await server.peer();
    peer.greet(false);
    await client.next('open');
    const settled = [];
    for (let n = 1; n <= 5; n++) client.send(n).then(() => settled.push(n));
    for (let n = 1; n <= 5; n++) assert.strictEqual(await peer.take(), String(n));
    peer.send('"a"').send('"b"');
    await client.next('message');
    await client.next('message');
    peer.cut();
    await client.next('close');
    client.send(6).then(() => settled.push(6));
    const secret = peer.query.session;
    peer = await server.peer();
    assert.deepStrictEqual(peer.query, { session: secret, received: '2' });
    peer.greet(true, 3);
    assert.deepStrictEqual((await client.next('open')), { resumed: true });
    for (let n = 4; n <= 6; n++) assert.strictEqual(await peer.take(), String(n));
    assert.deepStrictEqual(settled, [1, 2, 3]);
    peer.send({ type: 'ping', pingId: 1, received: 6 });
    await peer.takeBeat('pong');
    assert.deepStrictEqual(settled, [1, 2, 3, 4, 5, 6]);
    assert.strictEqual(client.queued, 0);
    peer.cut();
    peer = await server.peer();
    peer.greet(true, 6);
    await client.next('open');
    client.send(7);
    assert.strictEqual(await peer.take(), '7');
  },

  async 'a session that is lost says what is lost, and the rest is sent'(server) {
    const client = connect(server.url, { session: true });
    let peer = await server.peer();
    peer.greet(false);
    await client.next('session');
    const first = client.send('written');
    await peer.take();
    peer.send('"x"');
    await client.next('message');
    peer.cut();
    await client.next('close');
    client.send('unsent');
    client.on('session', ({ lost }) => lost.forEach((value) => client.send(`${value} again`)));
    peer = await server.peer();
    assert.strictEqual(peer.query.received, '1');
    peer.greet(false);
    assert.deepStrictEqual(await client.next('session'), { resumed: false, lost: ['written'] });
    assert.strictEqual((await failure(first)).kind, 'lost');
    assert.strictEqual(await peer.take(), '"written again"'); // in its old order
    assert.strictEqual(await peer.take(), '"unsent"');
    peer.cut();
    assert.strictEqual((await server.peer()).query.received, '0'); // of the new session
  },

  async 'what was not greeted is sent by the next socket'(server) {
    const client = connect(server.url, { session: true });
    client.send('early');
    (await server.peer()).cut();
    const peer = await server.peer();
    peer.greet(false);
    assert.strictEqual(await peer.take(), '"early"');
    assert.deepStrictEqual(await client.next('session'), { resumed: false, lost: [] });
  },

  async 'an endpoint without sessions is an error'(server) {
    const client = connect(server.url, { session: true });
    (await server.peer()).send('"hello"');
    assert.strictEqual((await client.next('error')).kind, 'session');
    assert.strictEqual((await client.next('close')).willReconnect, true);
  },

  async 'many messages are acknowledged before the server lets them go'(server) {
    const client = connect(server.url, { session: true, heartbeat: false });
    const peer = await server.peer();
    peer.greet(false);
    for (let n = 0; n < 40; n++) peer.send(String(n));
    assert.deepStrictEqual(JSON.parse(await peer.messages.take()), { type: 'pong', received: 32 });
    peer.send(JSON.stringify('x'.repeat(20000)));
    assert.deepStrictEqual(JSON.parse(await peer.messages.take()), { type: 'pong', received: 41 });
    assert.strictEqual(client.state, 'open');
  },

  async 'acknowledgements that cannot be right change nothing'(server) {
    const client = connect(server.url, { session: true });
    const peer = await server.peer();
    peer.greet(false);
    await client.next('open');
    client.send(1);
    const later = client.send(2);
    await peer.take();
    await peer.take();
    for (const received of [99, -1, 'x', null, 0.5]) peer.send({ type: 'ping', received });
    peer.cut();
    const again = await server.peer();
    again.greet(true, 1);
    assert.strictEqual(await again.take(), '2');
    again.send({ type: 'ping', received: 2 });
    await later;
  },

  // ---- requests ----

  async 'ask has an answer, or says why not'(server) {
    const client = connect(server.url);
    const peer = await server.peer();
    const one = client.ask('one', { n: 1 });
    const two = client.ask('two');
    const first = JSON.parse(await peer.take());
    const second = JSON.parse(await peer.take());
    assert.deepStrictEqual(first, { type: 'one', ask: first.ask, data: { n: 1 } });
    assert.deepStrictEqual(second, { type: 'two', ask: second.ask });
    peer.send({ answer: second.ask, data: null });
    peer.send({ answer: second.ask, data: 'twice' }); // dropped
    peer.send({ answer: first.ask, error: { message: 'no', kind: 'refused' } });
    assert.strictEqual(await two, null);
    const error = await failure(one);
    assert.ok(error instanceof Error && error.message === 'no' && error.kind === 'refused');
    assert.strictEqual((await failure(client.ask('x', 1, { timeout: 5 }))).kind, 'timeout');
    const late = JSON.parse(await peer.take());
    peer.send({ answer: late.ask, data: 'late' }).send('"end"');
    assert.deepStrictEqual(await client.next('message'), ['end', 'text']);
    // Without a session, an answer cannot come by another socket.
    const cut = client.ask('cut');
    await peer.take();
    peer.cut();
    assert.strictEqual((await failure(cut)).kind, 'closed');
    const waits = client.ask('waits'); // but a request may
    const again = await server.peer();
    const asked = JSON.parse(await again.take());
    again.send({ answer: asked.ask, data: [1] });
    assert.deepStrictEqual(await waits, [1]);
    client.ask('ends');
    client.disconnect();
    assert.strictEqual((await failure(client.ask('closed'))).kind, 'closed');
  },

  async 'requests live as long as their session'(server) {
    const client = connect(server.url, { session: true });
    let peer = await server.peer();
    peer.greet(false);
    const answered = client.ask('one');
    const lost = client.ask('two');
    await peer.take();
    await peer.take();
    peer.cut();
    peer = await server.peer();
    peer.greet(true, 2).send({ answer: 1, data: 'late but there' });
    assert.strictEqual(await answered, 'late but there');
    peer.cut();
    peer = await server.peer();
    peer.greet(false);
    assert.strictEqual((await failure(lost)).kind, 'lost');
  },

  async 'requests of the server are answered'(server) {
    const client = connect(server.url);
    client.answer('double', async (data) => data * 2)
      .answer('no', () => { throw Object.assign(new Error('never'), { kind: 'refused' }); })
      .answer('bad', () => { throw new Error('inner detail'); })
      .answer('ring', () => { const ring = {}; ring.ring = ring; return ring; })
      .answer('nothing', () => {});
    const peer = await server.peer();
    const ask = async (request) => JSON.parse(await (peer.send(request), peer.take()));
    assert.deepStrictEqual(await ask({ type: 'double', ask: 1, data: 21 }),
      { answer: 1, data: 42 });
    assert.deepStrictEqual(await ask({ type: 'no', ask: 2 }),
      { answer: 2, error: { kind: 'refused', message: 'never' } });
    const bad = await ask({ type: 'bad', ask: 3 });
    assert.strictEqual(bad.error.kind, 'failed');
    assert.ok(!JSON.stringify(bad).includes('detail'));
    assert.match((await client.next('error')).message, /inner detail/);
    assert.strictEqual((await ask({ type: 'ring', ask: 4 })).error.kind, 'failed');
    assert.deepStrictEqual(await ask({ type: 'nothing', ask: 5 }), { answer: 5 });
    assert.strictEqual((await ask({ type: 'toString', ask: 6 })).error.kind, 'unknown');
    assert.strictEqual((await ask({ ask: 7, data: 1 })).error.kind, 'unknown');
    client.on('ask', ({ type, data }) => [type ?? 'none', data]);
    assert.deepStrictEqual(await ask({ ask: 8, data: 1 }), { answer: 8, data: ['none', 1] });
    assert.deepStrictEqual(await ask({ type: 't', ask: 9 }), { answer: 9, data: ['t', null] });
    // These are messages of the app.
    for (const value of [{ type: 'quote', ask: 101, bid: 100 }, { ask: 'why' }, { ask: 1.5 },
      { answer: 42 }, { answer: 1, type: 'vote' }, { answer: 'yes' },
      { answer: '' }, { answer: null }, { answer: false, data: 1 }]) {
      peer.send(value);
      assert.deepStrictEqual(await client.next('message'), [value, 'text']);
    }
  },
};

process.on('unhandledRejection', (error) => {
  console.log(`not ok  an unhandled rejection\n${error.stack}`);
  process.exit(1);
});

(async () => {
  ({ Tidewire } = file.endsWith('.js') ? require(file) : await import(file));
  for (const [name, test] of Object.entries(tests)) {
    if (only && !name.includes(only)) continue;
    const server = await serve();
    try {
      await test(server);
      console.log(`ok      ${name}`);
    } catch (error) {
      console.log(`not ok  ${name}\n${error.stack}`);
      process.exit(1);
    }
    for (const client of clients.splice(0)) client.disconnect();
    await server.stop();
  }
  process.exit(0);
})();
