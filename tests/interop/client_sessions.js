// client_sessions.js -- the JavaScript client against the real server, by a link of this file that
// cuts sockets at random moments. Run by client_sessions_spec.lua:
//
//     node client_sessions.js CLIENT URL HOW [SEED]
//
// HOW: "cut" (by RST, by FIN, or by silence in both directions), "restart" (the spec ends the
// server and starts it again, twice) or "state" (the same once, with a state file). Clients and
// server send each other numbered messages; each must arrive once and in order, or the session is
// said to be lost. Exits with 0 when all was so, else prints what was not.
'use strict';
const assert = require('assert');
const net = require('net');
const path = require('path');
const { WebSocket } = require('ws');

const patience = Number(process.env.TIDEWIRE_TEST_PATIENCE || 1);
const [, , file, url, how, seedText] = process.argv;
const CLIENTS = 20;
const MESSAGES = 150; // of each direction, as the app of the spec has it

let seed = Number(seedText || Date.now() % 1e6);
console.log(`seed ${seed}`);
// Park and Miller's generator: the same numbers for the same seed.
function random(most) {
  seed = seed * 48271 % 2147483647;
  return seed % most;
}

// A link to the server that is cut again and again, within whatever passes next.
function serveLink(port) {
  const pairs = new Set();
  const link = net.createServer((near) => {
    const far = net.connect(port, '127.0.0.1');
    const pair = { fate: null, isMute: false };
    const end = {
      reset: () => { near.resetAndDestroy(); far.resetAndDestroy(); },
      fin: () => { near.end(); far.end(); },
      silence: () => {}, // nothing passes any more
    };
    pairs.add(pair);
    for (const [from, to] of [[near, far], [far, near]]) {
      from.on('data', (bytes) => {
        if (pair.isMute) return;
        pair.isMute = pair.fate !== null;
        to.write(pair.isMute ? bytes.subarray(0, random(bytes.length + 1)) : bytes);
        if (pair.isMute) end[pair.fate]();
      });
      from.on('end', () => !pair.isMute && to.end());
      from.on('close', () => {
        pairs.delete(pair);
        if (pair.fate !== 'silence' || from === near) to.destroy();
      });
      from.on('error', () => {});
    }
  });
  link.cuts = 0;
  link.cut = () => {
    const all = [...pairs].filter((pair) => !pair.fate);
    if (all.length === 0) return;
    link.cuts++;
    all[random(all.length)].fate = ['reset', 'fin', 'silence'][random(3)];
  };
  return new Promise((resolve) => link.listen(0, '127.0.0.1', () => resolve(link)));
}

// One client. Resolves when all has arrived.
function run(Tidewire, address, number) {
  const client = new Tidewire(address, {
    WebSocket, session: true, backoff: { min: 5, max: 100 }, heartbeat: 200 * patience,
    timeout: 400 * patience,
  });
  let sent = 0, acknowledged = 0, heard = 0, echoed = 0, sessions = 0, losses = 0;
  const fates = new Map(); // of each number: "sent", "got", "lost"
  return new Promise((resolve, reject) => {
    const fail = (error) => { client.disconnect(); reject(error); };
    const check = () => {
      if (heard < MESSAGES || sent < MESSAGES || client.queued > 0) return;
      if (echoed < MESSAGES && [...fates].some(([n, fate]) => fate === 'got' && n > echoed)) return;
      client.disconnect();
      resolve({ losses, sessions });
    };
    client.on('error', fail);
    client.on('session', ({ resumed, lost }) => {
      sessions++;
      if (resumed || sessions === 1) return;
      losses++;
      if (how !== 'restart') return fail(new Error(`${number}: the session is lost`));
      // What is lost is what was sent and not acknowledged: the next ones, without a gap.
      lost.forEach((value, index) => {
        if (value.n !== acknowledged + index + 1) fail(new Error(`lost ${value.n}`));
        fates.set(value.n, 'lost');
      });
      heard = 0; // the server's numbers begin anew
    });
    client.on('message', (message) => {
      if (message.number !== undefined) {
        if (message.number !== heard + 1) fail(new Error(`${message.number} after ${heard}`));
        heard = message.number;
      } else {
        if (message.wrong) fail(new Error(`the server got ${message.echo} after ${message.wrong}`));
        if (message.echo <= echoed) fail(new Error(`echo ${message.echo} after ${echoed}`));
        echoed = message.echo;
      }
      check();
    });
    // The restarts must come in time: messages wait for them.
    const mayGoOn = () => how === 'cut'
      || (how === 'state' ? sent <= MESSAGES / 2 || sessions > 1
        : losses >= (sent > MESSAGES * 0.75) + (sent > MESSAGES / 2));
    const next = () => {
      if (sent === MESSAGES || client.state === 'closed') return;
      if (!mayGoOn()) return setTimeout(next, 10);
      const n = ++sent;
      fates.set(n, 'sent');
      client.send({ n, filler: 'x'.repeat(random(2000)) }).then(() => {
        // In order, and nothing between but what was lost.
        for (let k = acknowledged + 1; k < n; k++) {
          if (fates.get(k) !== 'lost') fail(new Error(`${n} before ${k}`));
        }
        acknowledged = n;
        fates.set(n, 'got');
        check();
      }, (error) => {
        if (error.kind !== 'lost') fail(error);
        acknowledged = Math.max(acknowledged, n);
        check();
      });
      setTimeout(next, random(10));
    };
    next();
  });
}

(async () => {
  const { Tidewire } = file.endsWith('.js') ? require(path.resolve(file))
    : await import(path.resolve(file));
  const target = new URL(url);
  const link = await serveLink(target.port);
  target.port = link.address().port;
  const cutter = how === 'cut' && setInterval(() => link.cut(), 10);
  const all = Array.from({ length: CLIENTS }, (_, number) => run(Tidewire, target.href, number));
  const results = await Promise.all(all);
  clearInterval(cutter);
  const sum = (name) => results.reduce((total, result) => total + result[name], 0);
  console.log(`${link.cuts} cuts, ${sum('sessions')} greetings, ${sum('losses')} losses`);
  if (how !== 'restart') assert.ok(sum('sessions') > CLIENTS, 'no session was resumed');
  else assert.strictEqual(sum('losses'), 2 * CLIENTS);
  process.exit(0);
})().catch((error) => {
  console.log(`not ok  ${error.stack}`);
  process.exit(1);
});
