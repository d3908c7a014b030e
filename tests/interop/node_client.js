// node_client.js -- Node's `ws` as a client of Tidewire. Run by clients_spec.lua with the server's
// URL.
//
// The server's app echoes every message in its kind; "close CODE REASON" makes it close, "ping"
// makes it send a PING. Exits with 0 when everything was as a user of `ws` expects, else prints
// what was not.
'use strict';
const assert = require('assert');
const crypto = require('crypto');
const WebSocket = require('ws');

const url = process.argv[2];

function connect(options, protocols) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url, protocols || [], options);
    socket.messages = [];
    socket.waiting = [];
    socket.on('message', (data, isBinary) => {
      const message = { data, isBinary };
      const waiter = socket.waiting.shift();
      if (waiter) waiter(message); else socket.messages.push(message);
    });
    socket.closed = new Promise((done) =>
      socket.on('close', (code, reason) => done({ code, reason: reason.toString() })));
    socket.on('open', () => resolve(socket));
    socket.on('error', reject);
  });
}

function receive(socket) {
  if (socket.messages.length > 0) return Promise.resolve(socket.messages.shift());
  return new Promise((resolve) => socket.waiting.push(resolve));
}

const tests = {
  async 'text and bytes from 0 B to 1 MB come back'() {
    const socket = await connect();
    for (const size of [0, 1, 125, 126, 127, 1000, 65535, 65536, 300000, 1 << 20]) {
      const text = 'ü'.repeat(size / 2) + 'x'.repeat(size % 2);
      socket.send(text);
      let answer = await receive(socket);
      assert.strictEqual(answer.isBinary, false);
      assert.ok(answer.data.toString() === text, `${size} bytes of text came back changed`);
      const bytes = crypto.randomBytes(size);
      socket.send(bytes);
      answer = await receive(socket);
      assert.strictEqual(answer.isBinary, true);
      assert.ok(answer.data.equals(bytes), `${size} bytes came back changed`);
    }
    socket.close();
    await socket.closed;
  },

  async 'fragments are put together'() {
    const socket = await connect();
    socket.send('one ', { fin: false });
    socket.send('two ', { fin: false });
    socket.send('three', { fin: true });
    assert.strictEqual((await receive(socket)).data.toString(), 'one two three');
    socket.terminate();
  },

  async 'compression is offered, declined, and not needed'() {
    const socket = await connect({ perMessageDeflate: { threshold: 0 } });
    assert.strictEqual(socket.extensions, '');
    socket.send('a'.repeat(100000));
    assert.strictEqual((await receive(socket)).data.length, 100000);
    socket.close();
    await socket.closed;
  },

  async 'pings are answered in both directions'() {
    const socket = await connect();
    const pong = new Promise((resolve) => socket.once('pong', resolve));
    socket.ping('are you there');
    assert.strictEqual((await pong).toString(), 'are you there');
    const ping = new Promise((resolve) => socket.once('ping', resolve));
    socket.send('ping');
    assert.ok((await ping).length > 0);
    socket.terminate();
  },

  async 'closes are answered with their code'() {
    for (const [code, reason] of [
      [1000, ''], [1000, 'done'], [3000, 'Grüße'], [4000, 'x'.repeat(123)],
    ]) {
      const socket = await connect();
      socket.close(code, reason);
      assert.strictEqual((await socket.closed).code, code);
    }
  },

  async 'the server\'s close arrives with code and reason'() {
    for (const [code, reason] of [[1000, 'done'], [3000, 'library'], [4000, 'own']]) {
      const socket = await connect();
      socket.send(`close ${code} ${reason}`);
      assert.deepStrictEqual(await socket.closed, { code, reason });
    }
  },

  async 'a subprotocol is chosen'() {
    const socket = await connect({}, ['other', 'echo.v1']);
    assert.strictEqual(socket.protocol, 'echo.v1');
    socket.terminate();
  },

  async 'fifty clients at once keep their order'() {
    await Promise.all(Array.from({ length: 50 }, async (_, number) => {
      const socket = await connect();
      for (let index = 0; index < 20; index++) socket.send(`${number}/${index}`);
      for (let index = 0; index < 20; index++) {
        assert.strictEqual((await receive(socket)).data.toString(), `${number}/${index}`);
      }
      socket.close(1000);
      assert.strictEqual((await socket.closed).code, 1000);
    }));
  },
};

(async () => {
  for (const [name, test] of Object.entries(tests)) {
    try {
      await test();
      console.log(`ok      ${name}`);
    } catch (error) {
      console.log(`not ok  ${name}\n${error.stack}`);
      process.exit(1);
    }
  }
  process.exit(0);
})();
