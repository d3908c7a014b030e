// plain_client_node.js -- plain_client.js in Node, with `ws`. Run by clients_spec.lua with the
// server's URL and the time between reconnects.
//
// Says "ready" when heartbeats go both ways, "again" when it has connected again, and "given up"
// after its last attempt, which ends it.
'use strict';
const assert = require('assert');
globalThis.WebSocket = require('ws');
const PlainClient = require('./plain_client.js');

const [, , url, delay] = process.argv;
const client = new PlainClient(url, { pingInterval: 50, reconnectDelay: Number(delay) });
const messages = [];
let stage = 'connecting';
let attempts = 0;

client.on('pong', (message) => {
  assert.deepStrictEqual(Object.keys(message).sort(), ['pingId', 'timestamp', 'type']);
  assert.strictEqual(message.pingId, client.pings);
  if (stage !== 'connecting' || client.answered < 2 || client.pongs < 2) return;
  stage = 'asking';
  client.send({ type: 'hello' });
});
client.on('message', (message) => {
  messages.push(message);
  assert.deepStrictEqual(messages, [{ got: { type: 'hello' }, rtt: true }]);
  stage = 'ready';
  console.log('ready');
});
client.on('open', () => {
  if (stage !== 'ready') return;
  stage = 'again';
  client.reconnectDelay = 5;
  console.log('again');
});
client.on('close', () => { attempts = client.attempts; });
client.on('given up', () => {
  assert.strictEqual(stage, 'again');
  assert.strictEqual(attempts, 5);
  console.log('given up');
});
client.connect();
