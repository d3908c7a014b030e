// client_requests.js -- requests of the JavaScript client to the real server, and of the server to
// it. Run by client_sessions_spec.lua with the client's file and the server's URL.
'use strict';
const assert = require('assert');
const path = require('path');
const { WebSocket } = require('ws');
const { Tidewire } = require(path.resolve(process.argv[2]));

async function main() {
  const client = new Tidewire(process.argv[3], { WebSocket, session: true });
  client.answer('confirm', async ({ to }) => `yes, ${to}`);
  client.answer('refuse', () => { throw Object.assign(new Error('not now'), { kind: 'busy' }); });
  assert.strictEqual(await client.ask('double', 21), 42);
  assert.deepStrictEqual(await Promise.all([1, 2, 3].map((n) => client.ask('double', n))),
    [2, 4, 6]);
  const refusal = await client.ask('no').catch((error) => error);
  assert.deepStrictEqual([refusal.message, refusal.kind], ['never', 'cancelled']);
  const unknown = await client.ask('unheard of').catch((error) => error);
  assert.strictEqual(unknown.kind, 'unknown');
  assert.deepStrictEqual(await client.ask('back', 'confirm'), { answer: 'yes, confirm' });
  assert.deepStrictEqual(await client.ask('back', 'refuse'), { why: 'not now', kind: 'busy' });
  assert.strictEqual((await client.ask('back', 'nothing')).kind, 'unknown');
  const other = new Promise((resolve) => client.on('message', resolve));
  client.send({ type: 'hello' });
  assert.deepStrictEqual(await other, { other: { type: 'hello' } });
  client.disconnect();
}

main().then(() => process.exit(0), (error) => {
  console.log(error.stack);
  process.exit(1);
});
