// compression_client.js -- Node's `ws` with permessage-deflate as a client of Tidewire. Run by
// compression_spec.lua with the server's URL and an offer as JSON.
//
// The server's app echoes every message in its kind. Sends what the Autobahn test suite sends in
// its cases 12 and 13: many messages of each size, of JSON and of noise. Exits with 0 when all came
// back, else prints what did not.
'use strict';
const assert = require('assert');
const crypto = require('crypto');
const WebSocket = require('ws');

const [url, offer, count] = [process.argv[2], JSON.parse(process.argv[3]), +process.argv[4]];
const SIZES = [16, 64, 256, 1024, 4096, 8192, 16384, 32768, 65536, 131072];

function connect() {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url, [], { perMessageDeflate: offer, maxPayload: 1 << 22 });
    socket.waiting = [];
    socket.on('message', (data, isBinary) => socket.waiting.shift()({ data, isBinary }));
    socket.on('open', () => resolve(socket));
    socket.on('error', reject);
    socket.on('close', (code) => socket.waiting.forEach((f) => f({ closed: code })));
  });
}

function ask(socket, message, options) {
  return new Promise((resolve) => {
    socket.waiting.push(resolve);
    socket.send(message, options);
  });
}

function json(size, number) {
  const parts = [];
  for (let length = 0, at = 0; length < size; at++) {
    const part = `{"id":${number + at},"x":${(at * 7) % 640},"name":"player ${at % 13}","ü":"ö"},`;
    parts.push(part);
    length += part.length;
  }
  return Buffer.from(parts.join('')).subarray(0, size).toString('latin1').replace(/[^ -~]/g, '?');
}

async function exchange(socket, size, number) {
  const text = json(size, number);
  const noise = crypto.randomBytes(size);
  const answers = await Promise.all([
    ask(socket, text), ask(socket, noise), ask(socket, text, { compress: false }),
  ]);
  assert.ok(answers[0].data && answers[0].data.toString() === text, `${size} bytes of JSON`);
  assert.ok(answers[1].isBinary && answers[1].data.equals(noise), `${size} bytes of noise`);
  assert.ok(answers[2].data.toString() === text, `${size} bytes, uncompressed by the client`);
}

async function fragments(socket) {
  const text = json(20000, 1);
  const answer = new Promise((resolve) => socket.waiting.push(resolve));
  for (let at = 0; at < text.length; at += 1000) {
    socket.send(text.slice(at, at + 1000), { fin: at + 1000 >= text.length });
    if (at % 5000 === 0) socket.ping();
  }
  assert.ok((await answer).data.toString() === text, 'fragments');
}

(async () => {
  const sockets = await Promise.all(Array.from({ length: 5 }, connect));
  assert.ok(/permessage-deflate/.test(sockets[0].extensions), 'not negotiated');
  for (const size of SIZES) {
    const rounds = Math.max(1, Math.min(count, Math.floor(count * 4096 / size)));
    for (let number = 0; number < rounds; number++) {
      await Promise.all(sockets.map((socket) => exchange(socket, size, number)));
    }
  }
  await Promise.all(sockets.map(fragments));
  for (const socket of sockets) {
    const closed = new Promise((resolve) => socket.on('close', resolve));
    socket.close(1000);
    assert.strictEqual(await closed, 1000);
  }
  process.exit(0);
})().catch((error) => {
  console.log(error.stack);
  process.exit(1);
});
